"""LGM's networks, in torch."""
