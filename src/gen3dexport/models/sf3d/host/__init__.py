"""SF3D's host side. No torch."""
