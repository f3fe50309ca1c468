"""TripoSG's networks, in torch."""
