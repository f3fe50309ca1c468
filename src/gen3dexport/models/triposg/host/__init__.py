"""TripoSG's host side. No torch."""
