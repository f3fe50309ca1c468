"""What the network is told of noise and difficulty, computed on the host in float32. No torch.

Source: Karras et al. 2022 and Song et al. 2023, in the form of the published network: its least noise stands in the
factors of what is skipped and of the output, and not in that of the input.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIGMA_MIN, SIGMA_MAX = 0.002, 80.0
_SIGMA_DATA = 0.5
_PERIOD = 10000.0
EASIEST, HARDEST = 1.0, 100.0
"""The least and the greatest difficulty."""

Floats = NDArray[np.float32]


def label(difficulty: float) -> Floats:
    """A difficulty as the network takes it: [1, 1] in [0, 1]."""
    return np.full((1, 1), (difficulty - EASIEST) / (HARDEST - EASIEST), np.float32)


def scalings(sigma: float) -> Floats:
    """Factors of the network's input, of its output and of what is skipped: [1, 3]."""
    data, above = _SIGMA_DATA**2, sigma - SIGMA_MIN
    total = sigma**2 + data
    return np.array([[total**-0.5, _SIGMA_DATA * above * total**-0.5, data / (above**2 + data)]], np.float32)


def waves(sigma: float, frequencies: int) -> Floats:
    """The noise's level in cosines, then sines, of so many frequencies: [1, 2 * frequencies]."""
    # In float32 from the logarithm on: the fastest wave's angle is about 1100, of which float32 holds 1e-4.
    time = np.float32(250) * np.log(np.float32(sigma))
    steps = np.arange(frequencies, dtype=np.float32) / np.float32(frequencies)
    angles = time * np.exp(np.float32(-np.log(_PERIOD)) * steps)
    return np.concatenate([np.cos(angles), np.sin(angles)])[None].astype(np.float32)
