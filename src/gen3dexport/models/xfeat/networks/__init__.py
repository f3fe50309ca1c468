"""XFeat and LighterGlue in torch."""
