"""Terrain on the host. No torch."""
