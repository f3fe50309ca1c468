"""Point-E's noise schedules: what is left of a cloud at each timestep, and the noise levels of a walk. No torch.

Sources: Nichol and Dhariwal 2021, "Improved Denoising Diffusion Probabilistic Models" (the cosine schedule);
Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models" (sigmas, churn).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gen3dexport.models.heun_sampler import HeunStep, karras_sigmas, steps_of

TIMESTEPS = 1024
RHO = 7.0
SIGMA_MIN = 1e-3
LARGEST_STRETCH = math.sqrt(2) - 1
"""Of a step's sigma by churn."""

Betas = Literal["cosine", "linear"]


@lru_cache(maxsize=4)
def signal(betas: Betas) -> NDArray[np.float64]:
    """What is left of a cloud's variance at each of the 1024 timesteps (cumulated alphas), falling."""
    if betas == "cosine":
        t = np.arange(TIMESTEPS + 1, dtype=np.float64) / TIMESTEPS
        level = np.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
        beta = np.minimum(1 - level[1:] / level[:-1], 0.999)
    else:
        scale = 1000 / TIMESTEPS
        beta = np.linspace(scale * 1e-4, scale * 0.02, TIMESTEPS, dtype=np.float64)
    found: NDArray[np.float64] = np.cumprod(1 - beta)
    return found


def timestep(sigma: float, betas: Betas) -> float:
    """The timestep of a noise level, between two where it falls between them; the network gets its whole part."""
    left, level = signal(betas), 1.0 / (float(sigma) ** 2 + 1)
    if level > left[0]:
        return 0.0
    if level <= left[-1]:
        return TIMESTEPS - 1.0
    return float(np.interp(level, left[::-1], np.arange(TIMESTEPS)[::-1]))


@dataclass(frozen=True)
class Level:
    """A noise level that the network is called at.

    Attributes:
        sigma: of the noise; t: the timestep that the network gets.
        shrink: the network takes x times this.
        of_input, of_noise: the clean cloud is what the network takes times the one, less its noise times the other.
    """

    sigma: float
    t: int
    shrink: float
    of_input: float
    of_noise: float

    @classmethod
    def at(cls, sigma: float, betas: Betas) -> Level:
        """The level of a sigma."""
        t = int(timestep(sigma, betas))
        left = float(signal(betas)[t])
        return cls(sigma, t, 1 / math.sqrt(sigma**2 + 1), 1 / math.sqrt(left), math.sqrt(1 / left - 1))


def walk(steps: int, largest: float, churn: float, smallest: float = SIGMA_MIN, rho: float = RHO) -> list[HeunStep]:
    """The steps from the largest sigma to 0; `churn` stretches each one's sigma by churn / steps, 41 % at most."""
    stretch = min(churn / steps, LARGEST_STRETCH)
    return steps_of(karras_sigmas(steps, smallest, largest, rho), stretch)
