"""The first stage on the host: conditions -> structure latent -> occupancy -> voxels or a mesh. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gen3dexport.arrays import on_host
from gen3dexport.errors import AccuracyError
from gen3dexport.models.flow_sampler import sample
from gen3dexport.models.trellis.host.settings import Sampling, Settings
from gen3dexport.models.trellis.host.voxel_budget import Budget, Fitted, cells, fit
from gen3dexport.models.trellis.host.voxel_tables import Coords

Array = Any
State = dict[str, Any]
Call = Callable[[Mapping[str, Array]], Mapping[str, Array]]


def in_float32(array: Array) -> np.ndarray:
    """An array of any library as float32 NumPy."""
    return np.asarray(on_host(array), dtype=np.float32)


def run_sampler(
    program: Call,
    noise: Array,
    state: State,
    sampling: Sampling,
    xp: Any,
    tables: Mapping[str, Array] | None = None,
    flow: str = "flow",
) -> Array:
    """The sampler loop of a flow network under the state's conditions; `tables` are further inputs of every call.

    With batched guidance, both branches of a step are one call of a batch of two. A step without guidance fills the
    batch with a copy of its one branch: a program for that alone would have all the weights a second time.
    """
    batch, taken = sampling.batch, "context" if sampling.cache_context else "cond"

    def call(x: Array, t: float, condition: Array) -> Array:
        times = xp.asarray(np.full((batch,), t, np.float32))
        return program({"x": x, "t": times, taken: condition, **(tables or {})})["v"]

    name, axis = (f"{flow}_context", 2) if sampling.cache_context else ("cond", 0)
    condition, negative = state[name], state[f"neg_{name}"]
    if batch == 1:
        conditions = {True: condition, False: negative}
        return sample(lambda x, t, conditional: call(x, t, conditions[conditional]), noise, sampling.schedule)

    alone = xp.concat([condition, condition], axis=axis)
    branches = xp.concat([condition, negative], axis=axis)

    def pair(x: Array, t: float) -> tuple[Array, Array]:
        v = call(xp.concat([x, x]), t, branches)
        return v[:1], v[1:]

    return sample(lambda x, t, _: call(xp.concat([x, x]), t, alone)[:1], noise, sampling.schedule, pair=pair)


def occupancy_logits(state: State) -> np.ndarray:
    """Logits [R, R, R] of a finished state, as NumPy on the host."""
    logits = in_float32(state["logits"])
    return logits.reshape(logits.shape[2:])


def voxels(state: State, settings: Settings) -> Fitted:
    """The occupied voxels, or the cells that their surface crosses, in lexicographic order, fitted to the budget.

    Raises:
        AccuracyError: when none is occupied.
        UsageError: when there are more than the budget, unless they are to be coarsened.
    """
    assert settings.slat is not None
    stand_in = state.get("voxels")
    if stand_in is not None:
        coords = np.asarray(stand_in)
    else:
        occupied = occupancy_logits(state) > 0
        coords = crossed_cells(occupied) if settings.slat.cells == "crossed" else np.argwhere(occupied)
    if not len(coords):
        raise AccuracyError("nothing was generated: no voxel is occupied; try another seed or another prompt")
    return fit(coords.astype(np.int32), settings.slat.budget, settings.slat.resolution, settings.slat.on_overflow)


def crossed_cells(occupancy: np.ndarray) -> Coords:
    """Cells [N, 3] between eight voxel centres that are not all alike, in lexicographic order.

    Cell c has its centre at c / R - 0.5, half a voxel below the centre of voxel c. Cells past the last voxel are left
    out.

    Args:
        occupancy: [R, R, R] boolean; outside the grid nothing is occupied.
    """
    inside = _occupied_corners(occupancy)
    return np.argwhere((inside > 0) & (inside < 8)).astype(np.int32)


def solid_cells(state: State, scale: int) -> np.ndarray | None:
    """Where [R, R, R] all eight voxel centres of a cell are occupied: what `crossed_cells` encloses.

    Cells of a set that was coarsened by `scale` are where `voxel_budget.fit` puts them. None where other voxels stand
    in for the occupancy.
    """
    if "voxels" in state:
        return None
    solid: np.ndarray = _occupied_corners(occupancy_logits(state) > 0) == 8
    while scale > 1:
        halved = np.unique(np.argwhere(solid) // 2, axis=0) + len(solid) // 4
        solid = np.zeros_like(solid)
        solid[tuple(halved.T)] = True
        scale //= 2
    return solid


def _occupied_corners(occupancy: np.ndarray) -> np.ndarray:
    """How many [R, R, R] of the eight voxel centres around each cell are occupied."""
    padded = np.pad(occupancy.astype(np.int8), ((1, 0),) * 3)
    length = len(occupancy)
    count = np.zeros(occupancy.shape, np.int8)
    for x, y, z in np.ndindex(2, 2, 2):
        count += padded[x : x + length, y : y + length, z : z + length]
    return count


def shell(budget: Budget, resolution: int) -> Coords:
    """Voxels [N, 3] of the largest ball's surface that fits `budget`: in number and neighbours like an object's.

    What golden data of networks without trained weights is made with, for their occupancy means nothing.
    """
    centre = np.indices((resolution,) * 3).reshape(3, -1).T - (resolution - 1) / 2
    distance = np.sqrt((centre**2).sum(1))
    grid = np.argwhere(np.ones((resolution,) * 3, bool)).astype(np.int32)
    for radius in np.arange(resolution / 2 - 1, 0, -0.5):
        found: Coords = grid[np.abs(distance - radius) < 0.75]
        if len(found) and len(found) <= budget.tokens and cells(found) <= budget.coarse:
            return found
    return grid[:1]
