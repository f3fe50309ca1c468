"""V-JEPA 2's networks, in torch."""
