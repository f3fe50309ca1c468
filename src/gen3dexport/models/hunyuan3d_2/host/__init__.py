"""Hunyuan3D-2's host side. No torch."""
