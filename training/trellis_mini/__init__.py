"""Training of `trellis-mini`, a small text-to-3D sparse-structure model; see README.md (the model card)."""
