"""Depth Anything 3's host side. No torch."""
