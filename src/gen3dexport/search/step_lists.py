"""Static lists of a sampler's steps, chosen from recorded trajectories: which to keep, and where to reuse guidance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gen3dexport.arrays import on_host
from gen3dexport.models.component import Component
from gen3dexport.models.declaration import Declaration, State
from gen3dexport.models.flow_sampler import Schedule
from gen3dexport.observe import Eager

Floats = NDArray[np.float64]


def kept_times(latents: Sequence[np.ndarray], schedule: Schedule, count: int) -> tuple[float, ...]:
    """Times t of `count` of the schedule's steps, the first among them, whose longer steps leave the recorded
    trajectories least: the least sum of |x_i - m v_i - x_j|^2 over the steps from i to j, m being the way between.

    Args:
        latents: of each trajectory, before every step of `schedule` and after the last one, [steps + 1, ...].
        count: of the steps that are kept, 1 to `schedule.steps`.

    Source: the shortest path over pairwise costs of Watson et al. 2021, "Learning to Efficiently Sample from Diffusion
    Probabilistic Models", with the error of Euler's steps as the cost.
    """
    cost = sum((_jumps(np.asarray(one, np.float64), schedule) for one in latents), np.zeros(()))
    steps = len(schedule.plan)
    best = np.full((count + 1, steps + 1), np.inf)
    came = np.zeros((count + 1, steps + 1), int)
    best[0, 0] = 0
    for taken in range(1, count + 1):
        for end in range(taken, steps + 1):
            ways = best[taken - 1, :end] + cost[:end, end]
            came[taken, end] = int(np.argmin(ways))
            best[taken, end] = ways[came[taken, end]]
    kept, end = [], steps
    for taken in range(count, 0, -1):
        end = int(came[taken, end])
        kept.append(schedule.times[end])
    return tuple(reversed(kept))


def _jumps(x: Floats, schedule: Schedule) -> Floats:
    """|x_i - m v_i - x_j|^2 [steps, steps + 1] of Euler's step from i to j > i."""
    found = np.zeros((len(schedule.plan), len(schedule.plan) + 1))
    v: Floats = np.zeros_like(x[0])
    for i, step in enumerate(schedule.plan):
        direction = (x[i] - x[i + 1]) / step.move
        v = (direction + step.previous * v) / (1 + step.previous)  # a step of second order has two velocities
        way = np.cumsum(schedule.moves[i:])
        for j in range(i + 1, len(x)):
            found[i, j] = np.square(x[i] - way[j - i - 1] * v - x[j]).sum()
    return found


def branch_differences(component: Component, declared: Declaration, state: State) -> dict[float, Floats]:
    """conditional - unconditional by the time t of each step that asks both branches, in one run from `state`.

    Empty where the loop around the component is not known, and where one call takes both branches.
    """
    if component.loop is None or declared.sampler is None or declared.sampler.schedule is None:
        return {}
    eager = Eager(component)
    declared.advance(state, eager, np)
    steps: list[list[Floats]] = []
    before = None
    for inputs, outputs in eager.calls:
        now = float(on_host(inputs[component.loop.time]).ravel()[0])
        if now != before:
            steps.append([])
        steps[-1].append(np.asarray(outputs[component.outputs[0]], np.float64))
        before = now
    times = declared.sampler.schedule.times
    return {t: made[0] - made[1] for t, made in zip(times, steps, strict=False) if len(made) == 2}


def reuse_sets(differences: Mapping[float, Floats], schedule: Schedule) -> list[tuple[int, ...]]:
    """Numbers of guided steps to reuse guidance in, one more from set to set: those whose difference of the branches
    the step before knew best. Weighed as it enters the latent: |move (w - 1) (d_i - d_j)|^2.

    Args:
        differences: by t; a step at another time has that of the nearest.
    """
    guided = [i for i, step in enumerate(schedule.plan) if step.weight != 1.0]
    if not differences or len(guided) < 2:
        return []
    known = [differences[min(differences, key=lambda t: abs(t - schedule.plan[i].t))] for i in guided]
    apart = np.array([[np.square(a - b).sum() for b in known] for a in known])
    factor = [(schedule.plan[i].move * (schedule.plan[i].weight - 1)) ** 2 for i in guided]

    def error(reused: frozenset[int]) -> float:
        total, fresh = 0.0, 0
        for k in range(len(guided)):
            fresh = fresh if k in reused else k
            total += factor[k] * apart[k, fresh]
        return total

    reused: frozenset[int] = frozenset()
    found = []
    while left := [k for k in range(1, len(guided)) if k not in reused]:
        reused |= {min(left, key=lambda k: error(reused | {k}))}
        found.append(tuple(guided[k] for k in sorted(reused)))
    return found


def nearest_reuse(before: Schedule, after: Schedule) -> tuple[int, ...]:
    """Numbers of the guided steps of `after` that reuse guidance because the nearest step of `before` does."""
    guided = [i for i, step in enumerate(after.plan) if step.weight != 1.0]
    times = before.times[:-1]
    near = {i: min(range(len(times)), key=lambda k: abs(times[k] - after.plan[i].t)) for i in guided[1:]}
    return tuple(i for i, k in near.items() if k in before.reuse_guidance)
