"""A model of one's own on the host. No torch."""
