"""Shap-E's noise levels: sigmas and timesteps of a walk, as the scheduler's configuration says. No torch.

Source of the walk: Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models"; checked
against the diffusers library's HeunDiscreteScheduler.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gen3dexport.models.heun_sampler import HeunStep, steps_of
from gen3dexport.models.shap_e.host.model import Scheduler

RHO = 7.0


class Walk(NamedTuple):
    """The steps, and what the network gets as its timestep at each sigma."""

    steps: list[HeunStep]
    times: dict[float, float]


def train_sigmas(config: Scheduler) -> np.ndarray:
    """Sigma at each timestep, rising: alpha bar falls as exp(-12 t), and no beta is above 0.999."""
    t = np.arange(config.num_train_timesteps + 1) / config.num_train_timesteps
    level = np.exp(-12 * t)
    beta = np.minimum(1 - level[1:] / level[:-1], 0.999).astype(np.float32)
    left = np.cumprod(1 - beta, dtype=np.float32)  # the library's numbers: more digits give other sigmas
    found: np.ndarray = np.sqrt((1 - left) / left).astype(np.float64)
    return found


def walk(config: Scheduler, steps: int) -> Walk:
    """So many steps from the largest sigma to 0."""
    known = train_sigmas(config)
    last = config.num_train_timesteps - 1
    times = np.linspace(0, last, steps)[::-1]
    sigmas = np.interp(times, np.arange(last + 1), known)
    if config.use_karras_sigmas:
        share = np.linspace(0, 1, steps)
        high, low = (s ** (1 / RHO) for s in (sigmas[0], sigmas[-1]))
        sigmas = (high + share * (low - high)) ** RHO
        times = np.interp(np.log(sigmas), np.log(known), np.arange(last + 1))
    made = steps_of(sigmas.astype(np.float32))
    return Walk(made, {step.sigma: float(time) for step, time in zip(made, times, strict=True)})


def shrink(sigma: float) -> float:
    """The network takes x times this."""
    return 1 / math.sqrt(sigma**2 + 1)
