"""Rows of 14 numbers as Gaussians: the release's files of them, and the asset. No torch.

A row: position 3, opacity, scale 3, rotation 4 (w, x, y, z), colour 3; all as they are drawn.
Source: Tang et al. 2024, "LGM".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.gaussians import SH_C0, Gaussians

Floats = NDArray[np.float32]

LEAST = 0.005
"""Opacity below which a Gaussian is left out of files."""
HALF = 0.5
"""Of the network's cube of edge 2, to an asset's of edge 1."""
FRAME = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
"""From the network's world (y up, the first view on +z) to an asset's (z up, the first view on +x)."""
_FINITE, _SMALLEST = np.float32(1e-6), np.float32(1e-8)


def seen(rows: Floats, least: float = LEAST) -> NDArray[np.bool_]:
    """Which rows [..., 14] are as opaque as that."""
    found: NDArray[np.bool_] = rows[..., 3] >= np.float32(least)
    return found


def columns(rows: Floats) -> Floats:
    """Rows [N, 14] as the release's `.ply` stores those that are seen [M, 14]: x, y, z, colour as a harmonic, logit of
    the opacity, logarithms of the scales, rotation."""
    kept = rows[seen(rows)]
    opacity = np.clip(kept[:, 3:4], _FINITE, 1 - _FINITE)
    colors = (kept[:, 11:] - np.float32(0.5)) / np.float32(SH_C0)
    logits = np.log(opacity / (1 - opacity))
    made = np.concatenate([kept[:, :3], colors, logits, np.log(kept[:, 4:7] + _SMALLEST), kept[:, 7:11]], 1)
    return made.astype(np.float32)


def from_columns(stored: Floats) -> Floats:
    """Rows [M, 14] of what the release's `.ply` stores."""
    colors = np.float32(SH_C0) * stored[:, 3:6] + np.float32(0.5)
    opacity = 1 / (1 + np.exp(-stored[:, 6:7]))
    made = np.concatenate([stored[:, :3], opacity, np.exp(stored[:, 7:10]), stored[:, 10:], colors], 1)
    return made.astype(np.float32)


def asset(rows: Floats) -> Gaussians:
    """Rows [N, 14] as an asset, in its unit cube."""
    found = Gaussians(
        rows[:, :3],
        rows[:, 4:7],
        rows[:, 7:11],
        rows[:, 3],
        ((rows[:, 11:] - np.float32(0.5)) / np.float32(SH_C0))[:, None],
    )
    return found.turned(FRAME).scaled(HALF)
