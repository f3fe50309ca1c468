"""TripoSR's host side. No torch."""
