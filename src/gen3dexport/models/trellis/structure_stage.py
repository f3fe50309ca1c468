"""The first stage on the host: conditions -> structure latent -> occupancy -> voxels or a mesh. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gen3dexport.errors import AccuracyError
from gen3dexport.models.trellis.sampler import Schedule, sample
from gen3dexport.models.trellis.settings import Settings
from gen3dexport.models.trellis.voxel_budget import Budget, Fitted, cells, fit
from gen3dexport.models.trellis.voxel_tables import Coords

Array = Any
State = dict[str, Any]
Call = Callable[[Mapping[str, Array]], Mapping[str, Array]]


def on_host(array: Array) -> np.ndarray:
    """An array of any library as float32 NumPy."""
    return np.asarray(array.float().cpu() if hasattr(array, "cpu") else array, dtype=np.float32)


def run_sampler(
    program: Call, noise: Array, state: State, schedule: Schedule, xp: Any, tables: Mapping[str, Array] | None = None
) -> Array:
    """The sampler loop of a flow network under the state's conditions; `tables` are further inputs of every call."""

    def velocity(x: Array, t: float, conditional: bool) -> Array:
        time = xp.asarray(np.asarray([t], np.float32))
        condition = state["cond" if conditional else "neg_cond"]
        return program({"x": x, "t": time, "cond": condition, **(tables or {})})["v"]

    return sample(velocity, noise, schedule)


def occupancy_logits(state: State) -> np.ndarray:
    """Logits [R, R, R] of a finished state, as NumPy on the host."""
    logits = on_host(state["logits"])
    return logits.reshape(logits.shape[2:])


def voxels(state: State, settings: Settings) -> Fitted:
    """The occupied voxels in lexicographic order, fitted to the budget.

    Raises:
        AccuracyError: when none is occupied.
        UsageError: when there are more than the budget, unless they are to be coarsened.
    """
    assert settings.slat is not None
    stand_in = state.get("voxels")
    coords = np.argwhere(occupancy_logits(state) > 0) if stand_in is None else np.asarray(stand_in)
    if not len(coords):
        raise AccuracyError("nothing was generated: no voxel is occupied; try another seed or another prompt")
    return fit(coords.astype(np.int32), settings.slat.budget, settings.slat.resolution, settings.slat.on_overflow)


def shell(budget: Budget, resolution: int) -> Coords:
    """Voxels [N, 3] of the largest ball's surface that fits `budget`: in number and neighbours like an object's.

    What golden data of networks without trained weights is recorded with, for their occupancy means nothing.
    """
    centre = np.indices((resolution,) * 3).reshape(3, -1).T - (resolution - 1) / 2
    distance = np.sqrt((centre**2).sum(1))
    grid = np.argwhere(np.ones((resolution,) * 3, bool)).astype(np.int32)
    for radius in np.arange(resolution / 2 - 1, 0, -0.5):
        found: Coords = grid[np.abs(distance - radius) < 0.75]
        if len(found) and len(found) <= budget.tokens and cells(found) <= budget.coarse:
            return found
    return grid[:1]
