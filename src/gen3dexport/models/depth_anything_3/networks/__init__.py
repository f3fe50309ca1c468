"""Depth Anything 3's networks, read from released files. Imports torch."""
