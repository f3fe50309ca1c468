"""Schedules of the flow sampler, a velocity to walk along, and the same as a network."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from gen3dexport.models.component import Component, Euler
from gen3dexport.models.flow_sampler import Schedule

TIMES = (1.0, 0.8, 0.55, 0.3, 0.1)
SCHEDULES = {
    "euler": Schedule(5, 2.0, (0.5, 1.0), 3.0),
    "second order": Schedule(5, 2.0, (0.5, 1.0), 3.0, order=2),
    "reused guidance": Schedule(5, 2.0, (0.2, 1.0), 3.0, step_times=TIMES, reuse_guidance=(1, 3)),
    "all": Schedule(5, 2.0, (0.2, 1.0), 3.0, toward_data=True, step_times=TIMES, order=2, reuse_guidance=(2,)),
}
NOISE = np.random.default_rng(0).standard_normal((1, 4), dtype=np.float32)
CONDITIONS = {True: np.full((1, 4), 0.7, np.float32), False: np.full((1, 4), -0.2, np.float32)}


def velocity(x: np.ndarray, t: float, conditional: bool) -> np.ndarray:
    """It turns with time and depends on all that a network gets."""
    made: np.ndarray = np.sin(x + np.float32(t / 1000)) + np.float32(0.5) * CONDITIONS[conditional] * x
    return made


class _Network(nn.Module):
    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        return torch.sin(x + t / 1000) + 0.5 * cond * x


def network(name: str) -> tuple[Component, Euler]:
    """The velocity as a component, and the loop of the schedule of that name."""
    schedule = SCHEDULES[name]
    inputs = {"x": torch.from_numpy(NOISE), "t": torch.ones(1), "cond": torch.from_numpy(CONDITIONS[True])}
    loop = Euler.of(schedule, tuple(1000 * t for t in schedule.times[:-1]))
    return Component("flow", _Network(), inputs, ("v",), loop=loop), loop
