"""Training code of the models that this repository trains itself."""
