"""TripoSG (Li et al. 2025): one picture to a mesh through a set of latent vectors.

DINOv2 makes tokens of the picture, a flow makes a set of latent vectors of noise under them, and a decoder says of any
point of a cube whether it lies inside. The mesh is where it changes its mind.
"""

from __future__ import annotations
