"""TripoSR's networks, in torch."""
