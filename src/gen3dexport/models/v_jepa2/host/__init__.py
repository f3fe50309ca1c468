"""V-JEPA 2 on the host. No torch."""
