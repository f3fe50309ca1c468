"""Point-E's networks, in torch."""
