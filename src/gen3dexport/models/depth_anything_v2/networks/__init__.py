"""Depth Anything V2's network, in torch."""
