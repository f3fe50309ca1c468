"""Heun's method over noise levels, with churn; plain Python over arrays. No torch.

Source: Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models", algorithm 2. Sigmas
are float32, as in the code that models were released with: where a timestep is cut to a whole number, more digits would
give another one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = Any
Denoised = Callable[[Array, float], Array]
"""(x, its noise's sigma) -> the clean x that the network predicts."""


class HeunStep(NamedTuple):
    """One step.

    Attributes:
        sigma: of the noise that it begins with; stretched: after fresh noise is added; after: that it ends with.
        fresh: factor of the fresh noise.
    """

    sigma: float
    stretched: float
    after: float
    fresh: float

    @property
    def calls(self) -> int:
        """Predictions that it takes: one where it ends without noise."""
        return 2 if self.after else 1


def karras_sigmas(steps: int, smallest: float, largest: float, rho: float) -> NDArray[np.float32]:
    """Sigmas [steps] from the largest to the smallest, evenly spaced in their power 1 / rho."""
    share = np.linspace(0, 1, steps, dtype=np.float32)
    low, high = np.float32(smallest ** (1 / rho)), np.float32(largest ** (1 / rho))
    found: NDArray[np.float32] = ((high + share * (low - high)) ** np.float32(rho)).astype(np.float32)
    return found


def steps_of(sigmas: Sequence[float] | NDArray[np.float32], stretch: float = 0.0) -> list[HeunStep]:
    """The steps over falling sigmas and then to 0; each begins by making its sigma larger by the share `stretch`."""
    made = []
    for sigma, after in pairwise([*(np.float32(s) for s in sigmas), np.float32(0)]):
        stretched = np.float32(sigma * np.float32(1 + stretch))
        fresh = math.sqrt(max(0.0, float(stretched) ** 2 - float(sigma) ** 2)) if stretch > 0 else 0.0
        made.append(HeunStep(float(sigma), float(stretched), float(after), fresh))
    return made


def sample(
    denoised: Denoised,
    x: Array,
    steps: Sequence[HeunStep],
    fresh: Sequence[Array] | NDArray[np.float32] = (),
    on_step: Callable[[int, Array, Array], None] | None = None,
) -> tuple[Array, Array]:
    """Walk from `x` to no noise.

    Args:
        x: noise times the first sigma.
        fresh: noise of each step, like x, where steps add any.
        on_step: called with (step, x with its fresh noise, the clean x predicted there).

    Returns:
        The last x, and the last prediction.
    """
    clean: Array = x
    for number, step in enumerate(steps):
        if step.fresh:
            x = x + fresh[number] * np.float32(step.fresh)
        clean = denoised(x, step.stretched)
        if on_step is not None:
            on_step(number, x, clean)
        slope, move = (x - clean) / np.float32(step.stretched), np.float32(step.after - step.stretched)
        if not step.after:
            return x + slope * move, clean
        ahead = x + slope * move
        clean = denoised(ahead, step.after)
        x = x + (slope + (ahead - clean) / np.float32(step.after)) / 2 * move
    return x, clean
