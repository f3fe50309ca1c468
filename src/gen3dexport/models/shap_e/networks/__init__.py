"""Shap-E's networks, in torch."""
