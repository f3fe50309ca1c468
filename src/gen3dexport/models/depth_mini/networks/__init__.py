"""depth-mini in torch."""
