"""Training of `depth-mini`: a head for depth on frozen tokens of DINOv2, from ray-traced scenes."""
