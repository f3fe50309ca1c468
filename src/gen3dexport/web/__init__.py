"""Bundles in the browser: a static site of a bundle with ONNX programs, and a server for it on this machine."""
