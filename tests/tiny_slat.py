"""Tiny structured-latent networks with seeded weights, and random voxel sets."""

from __future__ import annotations

from functools import cache

import numpy as np
from hypothesis import strategies as st
from torch import nn

from gen3dexport.models.trellis.host.configs import NETWORKS
from gen3dexport.models.trellis.networks.loading import random_network

TINY = ("slat_flow_tiny", "slat_dec_gs_tiny", "slat_dec_rf_tiny", "slat_dec_mesh_tiny", "slat_enc_tiny")
RESOLUTION = 16


@cache
def tiny(name: str) -> nn.Module:
    """One of TINY."""
    cls, args = NETWORKS[name]
    return random_network(cls, args, seed=1)


@st.composite
def voxel_sets(draw: st.DrawFn, most: int = 60, resolution: int = RESOLUTION) -> np.ndarray:
    """[N, 3] different voxels in any order; blobs and scattered ones."""
    extent = draw(st.sampled_from([3, 6, resolution]))
    cells = draw(st.sets(st.integers(0, extent**3 - 1), min_size=1, max_size=most))
    coords = np.stack(np.unravel_index(draw(st.permutations(sorted(cells))), (extent,) * 3), -1)
    return (coords + draw(st.integers(0, resolution - extent))).astype(np.int32)
