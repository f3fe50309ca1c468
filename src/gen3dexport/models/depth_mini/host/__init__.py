"""depth-mini on the host. No torch."""
