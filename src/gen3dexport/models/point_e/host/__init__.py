"""Point-E's host side. No torch."""
