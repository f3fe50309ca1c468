"""MoGe-2's host side. No torch."""
