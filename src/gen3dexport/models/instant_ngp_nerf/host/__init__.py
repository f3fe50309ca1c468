"""Radiance fields on the host. No torch."""
