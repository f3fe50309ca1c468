"""A model of one's own in torch: its factory, imported and called where a recipe is planned and built."""
