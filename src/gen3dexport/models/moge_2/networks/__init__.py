"""MoGe-2's network, in torch."""
