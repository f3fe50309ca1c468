"""Radiance fields in torch."""
