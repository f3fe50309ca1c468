"""A radiance field's pipeline on the host: a camera path -> pictures of it. No torch."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.arrays import on_host
from gen3dexport.assets.sequence import AssetSequence
from gen3dexport.assets.view import View
from gen3dexport.models import Request
from gen3dexport.models.declaration import AS_STORED, Call, Declaration, Reading, State, Weights
from gen3dexport.models.instant_ngp_nerf.host import occupancy
from gen3dexport.models.instant_ngp_nerf.host.cameras import path_of, rays
from gen3dexport.models.instant_ngp_nerf.host.marching import Seen, edges, march
from gen3dexport.models.instant_ngp_nerf.host.settings import (
    COLORS,
    DENSITY,
    DIRECTIONS,
    FIELD,
    OCCUPIED,
    ORIGINS,
    PICTURE,
    POINTS,
    Settings,
)

Floats = NDArray[np.float32]


def components(settings: Settings) -> tuple[Declaration, ...]:
    """The field at points, which the host marches through or fills an occupancy grid with; or whole rays."""

    def load(name: str, folder: Path, weights: Weights = "stored", reading: Reading = AS_STORED) -> Any:
        from gen3dexport.models.instant_ngp_nerf.networks.loading import load_component

        return load_component(name, settings, folder, weights, reading)

    def advance(name: str) -> Any:
        if name == FIELD:
            return _march if settings.march is not None else _fill
        return _render

    return tuple(
        Declaration(
            name,
            settings.checkpoint,
            tuple(settings.inputs(name)),
            settings.outputs(name),
            partial(advance(name), settings),
            partial(load, name),
        )
        for name in settings.component_names
    )


def begin(settings: Settings, request: Request, files: Path, xp: Any) -> State:
    """The cameras: poses [N, 4, 4], fields [N], times [N] and the size of pictures [2].

    Raises:
        UsageError: see `cameras.path_of`.
    """
    path = path_of(request, settings)
    return {"poses": path.poses, "fields": path.fields, "times": path.times, "size": np.asarray(path.size, np.int64)}


def _ask(settings: Settings, program: Call, xp: Any, points: Floats, directions: Floats) -> tuple[Floats, Floats]:
    """The field's density [N] and colours [N, 3] at points [N, 3]; the last call is filled up with zeros."""
    chunk, density, colors = settings.chunk, np.empty(len(points), np.float32), np.empty((len(points), 3), np.float32)
    for start in range(0, len(points), chunk):
        here = slice(start, min(start + chunk, len(points)))
        given = {}
        for name, values in ((POINTS, points), (DIRECTIONS, directions)):
            padded = np.zeros((1, chunk, 3), np.float32)
            padded[0, : here.stop - start] = values[here]
            given[name] = xp.asarray(padded)
        answer = program(given)
        density[here] = on_host(answer[DENSITY])[0, : here.stop - start, 0]
        colors[here] = on_host(answer[COLORS])[0, : here.stop - start]
    return density, colors


def occupied(settings: Settings, program: Call, xp: Any) -> NDArray[np.bool_]:
    """The occupancy grid of the field."""

    up = np.array([0, 0, 1], np.float32)

    def density(points: Floats) -> Floats:
        return _ask(settings, program, xp, points, np.broadcast_to(up, points.shape))[0]

    return occupancy.filled(density, settings.grid, settings.least_density)


def _cells(settings: Settings, state: State, program: Call, xp: Any) -> NDArray[np.bool_]:
    """The occupancy grid that a state has, or a new one."""
    found = state.get(OCCUPIED)
    return occupied(settings, program, xp) if found is None else np.asarray(found, np.bool_)


def _march(settings: Settings, state: State, program: Call, xp: Any) -> State:
    """Pictures, by marching."""
    assert settings.march is not None
    model = settings.model
    cells = _cells(settings, state, program, xp) if settings.march.occupancy else None
    t = edges(settings.march.samples, model.near_plane, model.far_plane)
    ask = partial(_ask, settings, program, xp)
    every, asked = [], 0
    for pose, field in zip(state["poses"], state["fields"], strict=True):
        seen = march(ask, *rays(pose, field, _size(state)), t, model.background_color, cells)
        every.append(seen)
        asked += seen.asked
    return state | _pictures(every, state) | {"asked": np.asarray(asked)}


def _fill(settings: Settings, state: State, program: Call, xp: Any) -> State:
    """The occupancy grid, as the network of whole rays takes it."""
    return state | {OCCUPIED: occupied(settings, program, xp).astype(np.float32)}


def _render(settings: Settings, state: State, program: Call, xp: Any) -> State:
    """Pictures, by whole rays; a picture's last call is filled up with its last ray."""
    given = {OCCUPIED: xp.asarray(state[OCCUPIED])} if settings.masked else {}
    every = []
    for pose, field in zip(state["poses"], state["fields"], strict=True):
        origins, directions = rays(pose, field, _size(state))
        parts: list[dict[str, Floats]] = []
        for start in range(0, len(origins), settings.rays):
            own = np.minimum(np.arange(start, start + settings.rays), len(origins) - 1)
            answer = program(given | {ORIGINS: xp.asarray(origins[own]), DIRECTIONS: xp.asarray(directions[own])})
            kept = min(settings.rays, len(origins) - start)
            parts.append({name: on_host(answer[name])[:kept] for name in PICTURE})
        colors, depth, accumulation = (np.concatenate([part[name] for part in parts]) for name in PICTURE)
        every.append(Seen(colors, depth[:, 0], accumulation[:, 0], 0))
    return state | _pictures(every, state)


def _size(state: State) -> tuple[int, int]:
    height, width = (int(edge) for edge in state["size"])
    return height, width


def _pictures(every: list[Seen], state: State) -> State:
    """Pictures [N, H, W, 3] in 8 bits, depths and accumulations [N, H, W]."""
    size = _size(state)
    colors = [np.rint(255 * seen.colors).astype(np.uint8).reshape(*size, 3) for seen in every]
    return {
        "pictures": np.stack(colors),
        "depths": np.stack([seen.depth.reshape(size) for seen in every]),
        "accumulations": np.stack([seen.accumulation.reshape(size) for seen in every]),
    }


def make_assets(state: State, settings: Settings) -> dict[str, Any]:
    """The first picture, and all of them over time."""
    every = zip(*(state[name] for name in ("pictures", "depths", "accumulations", "poses", "fields")), strict=True)
    views = tuple(View(color, depth, seen, pose, float(field)) for color, depth, seen, pose, field in every)
    return {"view": views[0], "sequence": AssetSequence(views, state["times"])}
