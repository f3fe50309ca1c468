"""Shap-E's host side. No torch."""
