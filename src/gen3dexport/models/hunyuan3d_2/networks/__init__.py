"""Hunyuan3D-2's networks, in torch."""
