"""Flow sampler with guidance interval, rescaled time and steps that call less; plain Python over arrays. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

Array = Any
Velocity = Callable[[Array, float, bool], Array]
Pair = Callable[[Array, float], tuple[Array, Array]]


class Step(NamedTuple):
    """One step: x <- x - move * ((1 + previous) * v - previous * v of the step before).

    Attributes:
        t: time of the state that it begins with.
        move: t less the time after it, with the sign for the network's velocity.
        weight: w in v = w * conditional - (w - 1) * unconditional; at 1 the conditional velocity is used alone.
        reuse: whether the unconditional branch is not called: v = conditional + (w - 1) * difference, where the
            difference, conditional - unconditional, is that of the last step that called both.
        previous: weight of the velocity before; 0 in an Euler step.
    """

    t: float
    move: float
    weight: float
    reuse: bool = False
    previous: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """How the sampler walks from noise (t = 1) to data (t = 0).

    Attributes:
        steps: number of steps.
        guidance_scale: s in v = (1 + s) * conditional - s * unconditional.
        guidance_interval: closed interval of t where guidance is on; outside it the conditional velocity is used alone.
        rescale_t: r in t = r * tau / (1 + (r - 1) * tau).
        sigma_min: noise left at t = 0; enters only the predicted clean sample.
        toward_data: whether the network's velocity points from noise to data; else from data to noise.
        step_times: t of each step, falling from 1, in place of the rescaled ones.
        order: 1 for Euler steps; 2 for steps of the second-order Adams-Bashforth method, by the velocity before.
        reuse_guidance: numbers of guided steps that take the last step's difference of the branches; none is the first
            guided one.
    """

    steps: int
    guidance_scale: float
    guidance_interval: tuple[float, float]
    rescale_t: float
    sigma_min: float = 1e-5
    toward_data: bool = False
    step_times: tuple[float, ...] | None = None
    order: int = 1
    reuse_guidance: tuple[int, ...] = ()

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
    def plan(self) -> tuple[Step, ...]:
        """The steps, in their order.

        Source of the second order: Hairer, Norsett and Wanner 1993, "Solving Ordinary Differential Equations I", III.5
        (variable steps); for flows and diffusion: Zhang and Chen 2022, "Fast Sampling of Diffusion Models with
        Exponential Integrator".
        """
        moves = self.moves
        ratios = [0.0, *(after / (2 * before) for before, after in pairwise(moves))]
        return tuple(
            Step(t, move, weight, i in self.reuse_guidance, ratio if self.order == 2 else 0.0)
            for i, (t, move, weight, ratio) in enumerate(zip(self.times, moves, self.weights, ratios, strict=False))
        )

    @property
    def calls(self) -> int:
        """Calls of the network in one run."""
        return sum(2 if step.weight != 1.0 and not step.reuse else 1 for step in self.plan)


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
    x, sigma, sign = noise, schedule.sigma_min, -1 if schedule.toward_data else 1
    both = pair or (lambda x, t: (velocity(x, t, True), velocity(x, t, False)))
    difference: Array = None
    before: Array = None
    for number, step in enumerate(schedule.plan):
        t, weight = 1000 * step.t, step.weight
        if weight == 1.0:
            v = velocity(x, t, True)
        elif step.reuse:
            v = velocity(x, t, True) + (weight - 1) * difference
        else:
            conditional, unconditional = both(x, t)
            v = weight * conditional - (weight - 1) * unconditional
            difference = conditional - unconditional if schedule.reuse_guidance else None
        direction = (1 + step.previous) * v - step.previous * before if step.previous else v
        start, x, before = x, x - step.move * direction, v
        if on_step is not None:
            on_step(number, x, (1 - sigma) * start - sign * (sigma + (1 - sigma) * step.t) * v)
    return x
