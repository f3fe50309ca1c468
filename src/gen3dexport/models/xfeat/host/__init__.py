"""XFeat and LighterGlue on the host. No torch."""
