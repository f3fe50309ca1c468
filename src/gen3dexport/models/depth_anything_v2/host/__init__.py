"""Depth Anything V2's host side. No torch."""
