"""LGM's host side. No torch."""
