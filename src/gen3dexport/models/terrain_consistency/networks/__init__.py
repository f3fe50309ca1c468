"""Terrain in torch."""
