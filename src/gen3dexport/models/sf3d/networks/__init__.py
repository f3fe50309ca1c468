"""SF3D's networks, in torch."""
