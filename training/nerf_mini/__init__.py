"""Training of nerf-mini: a radiance field of a procedural scene."""
