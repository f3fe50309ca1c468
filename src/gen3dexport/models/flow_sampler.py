"""Euler flow sampler with guidance interval and rescaled time; plain Python over Array API arrays. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

Array = Any
Velocity = Callable[[Array, float, bool], Array]
Pair = Callable[[Array, float], tuple[Array, Array]]


@dataclass(frozen=True)
class Schedule:
    """How the sampler walks from noise (t = 1) to data (t = 0).

    Attributes:
        steps: number of Euler steps.
        guidance_scale: s in v = (1 + s) * conditional - s * unconditional.
        guidance_interval: closed interval of t where guidance is on; outside it the conditional velocity is used alone.
        rescale_t: r in t = r * tau / (1 + (r - 1) * tau).
        sigma_min: noise left at t = 0; enters only the predicted clean sample.
        toward_data: whether the network's velocity points from noise to data; else from data to noise.
        step_times: t of each step, falling from 1, in place of the rescaled ones.
    """

    steps: int
    guidance_scale: float
    guidance_interval: tuple[float, float]
    rescale_t: float
    sigma_min: float = 1e-5
    toward_data: bool = False
    step_times: tuple[float, ...] | None = None

    @property
    def times(self) -> tuple[float, ...]:
        """The steps + 1 times from 1 to 0, in float64."""
        if self.step_times is not None:
            return (*self.step_times, 0.0)
        taus = [1 - i / self.steps for i in range(self.steps)] + [0.0]
        return tuple(self.rescale_t * tau / (1 + (self.rescale_t - 1) * tau) for tau in taus)

    @property
    def moves(self) -> tuple[float, ...]:
        """m of each step x <- x - m * v, the sign for the network's velocity."""
        sign = -1 if self.toward_data else 1
        return tuple(sign * (t - t_next) for t, t_next in pairwise(self.times))

    def guided(self, t: float) -> bool:
        """Whether guidance is on at time t."""
        low, high = self.guidance_interval
        return low <= t <= high

    @property
    def weights(self) -> tuple[float, ...]:
        """Weight of the conditional velocity at each step: 1 + s where guidance is on, 1 elsewhere."""
        return tuple(1 + self.guidance_scale if self.guided(t) else 1.0 for t in self.times[:-1])

    @property
    def calls(self) -> int:
        """Calls of the network in one run."""
        return sum(2 if w != 1.0 else 1 for w in self.weights)


def sample(
    velocity: Velocity,
    noise: Array,
    schedule: Schedule,
    on_step: Callable[[int, Array, Array], None] | None = None,
    pair: Pair | None = None,
) -> Array:
    """Integrate the flow from `noise`.

    Args:
        velocity: (x, 1000 * t, conditional) -> v, shaped like x.
        noise: x at t = 1.
        schedule: the steps.
        on_step: called with (step, x after it, predicted clean sample); for progress, previews and golden data.
        pair: (x, 1000 * t) -> both velocities, conditional first, in one call; asked for guided steps.

    Source: Lipman et al. 2022, "Flow Matching for Generative Modeling"; the guidance interval is that of
    Kynkaanniemi et al. 2024, "Applying Guidance in a Limited Interval Improves Sample and Distribution Quality".
    """
    x = noise
    sigma, sign = schedule.sigma_min, -1 if schedule.toward_data else 1
    for step, (t, move, weight) in enumerate(zip(schedule.times, schedule.moves, schedule.weights, strict=False)):
        if weight == 1.0:
            v = velocity(x, 1000 * t, True)
        else:
            both = pair or (lambda x, t: (velocity(x, t, True), velocity(x, t, False)))
            conditional, unconditional = both(x, 1000 * t)
            v = weight * conditional - (weight - 1) * unconditional
        before, x = x, x - move * v
        if on_step is not None:
            on_step(step, x, (1 - sigma) * before - sign * (sigma + (1 - sigma) * t) * v)
    return x
