"""LGM's pipeline on the host: views -> Gaussians; L4GM's: a film, chunk by chunk -> Gaussians over time. No torch."""

from __future__ import annotations

import itertools
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.arrays import on_host
from gen3dexport.assets.draw.gaussian_render import Lens, splat
from gen3dexport.assets.sequence import AssetSequence
from gen3dexport.models import Request
from gen3dexport.models.declaration import AS_STORED, Call, Declaration, Reading, State, Weights
from gen3dexport.models.lgm.host.cameras import evenly, orbit, rays
from gen3dexport.models.lgm.host.gaussians import HALF, asset, seen
from gen3dexport.models.lgm.host.model import Model
from gen3dexport.models.lgm.host.settings import BETWEEN, INPUT, OUTPUT, UNET, Settings
from gen3dexport.models.lgm.host.views import between, chunks, film, inputs, object_views

Floats = NDArray[np.float32]


def components(settings: Settings) -> tuple[Declaration, ...]:
    """The network, pictures with rays [1, T V, 9, S, S] -> rows [T, N, 14]; where asked, that of frames between."""

    def load(
        name: str, model: Model, stem: str, folder: Path, weights: Weights = "stored", reading: Reading = AS_STORED
    ) -> Any:
        from gen3dexport.models.lgm.networks.loading import load_component

        return load_component(name, model, folder / stem, weights, reading)

    def declared(name: str, model: Model, stem: str, advance: Any) -> Declaration:
        return Declaration(
            name, stem, (INPUT,), (OUTPUT,), partial(advance, settings), partial(load, name, model, stem)
        )

    first = declared(UNET, settings.model, settings.checkpoint, _film if settings.takes_film else _still)
    if not settings.interpolate:
        return (first,)
    return (first, declared(BETWEEN, settings.between, "interp", _between))


def begin(settings: Settings, request: Request, files: Path, xp: Any) -> State:
    """The network's input of an object's views; of a film, its pictures and views in [0, 1] (see `views.Film`).

    Raises:
        UsageError: see `views.object_views` and `views.film`.
    """
    if not settings.takes_film:
        return {INPUT: xp.asarray(inputs(object_views(request, settings)[None], _rays(settings)))}
    given = film(request, settings)
    return {"front": given.front, "others": given.others, "times": given.times}


def _rays(settings: Settings) -> Floats:
    """Of the pixels of every view [V, 6, S, S]."""
    model = settings.model
    return rays(orbit(0, evenly(model.num_input_views), model.cam_radius), model.input_size, model.fovy)


def _still(settings: Settings, state: State, program: Call, xp: Any) -> State:
    return state | {OUTPUT: program({INPUT: state[INPUT]})[OUTPUT]}


def _film(settings: Settings, state: State, program: Call, xp: Any) -> State:
    """Rows [F, N, 14] of a film's frames, as many a call as the network takes.

    A call begins with the last frame of the one before, and takes its views from that frame's Gaussians where the film
    has those of its first frame alone. Frames after the last are that one again.
    """
    front, others, rays = on_host(state["front"]), on_host(state["others"]), _rays(settings)
    count, frames, views = len(front), settings.model.num_frames, others[0]
    made: list[Floats] = []
    for start in chunks(count, frames):
        own = np.minimum(np.arange(start, start + frames), count - 1)
        if made and len(others) == 1:
            views = _drawn(made[-1], settings)
        beside = others[own] if len(others) == count else np.broadcast_to(views, (frames, *views.shape))
        found = program({INPUT: xp.asarray(inputs(np.concatenate([front[own, None], beside], 1), rays))})
        made.extend(on_host(found[OUTPUT])[len(made) - start : count - start])
    return state | {OUTPUT: np.stack(made)}


def _between(settings: Settings, state: State, program: Call, xp: Any) -> State:
    """Rows [F - 1, 2, N, 14] of two frames between any two of a film: of their pictures and their Gaussians' views.

    A film of one frame has two that are thrown away.
    """
    front, others, rows = (on_host(state[name]) for name in ("front", "others", OUTPUT))
    whole, rays = len(others) == len(front) > 1, _rays(settings)
    known = [np.concatenate([f[None], others[k] if whole else _drawn(rows[k], settings)]) for k, f in enumerate(front)]
    made = []
    for one, other in [*itertools.pairwise(known)] or [(known[0], known[0])]:
        found = program({INPUT: xp.asarray(inputs(between(one, other), rays))})
        made.append(on_host(found[OUTPUT])[1:-1])
    return state | {"between": np.stack(made)}


def _drawn(rows: Floats, settings: Settings) -> Floats:
    """The views [V - 1, 3, S, S] of Gaussians [N, 14] beside the front, on white."""
    model, gaussians = settings.model, asset(rows[seen(rows, settings.least_opacity)])
    focal = 0.5 * model.input_size / math.tan(math.radians(model.fovy) / 2)
    lens = Lens(HALF * model.cam_radius, focal, HALF * model.znear, HALF * model.zfar)
    made = [splat(gaussians, azimuth, 0, model.input_size, lens=lens) for azimuth in evenly(model.num_input_views)[1:]]
    shown = [np.clip(color + (1 - alpha[..., None]), 0, 1).transpose(2, 0, 1) for color, alpha in made]
    return np.asarray(shown, np.float32).reshape(-1, 3, model.input_size, model.input_size)


def make_assets(state: State, settings: Settings) -> dict[str, Any]:
    """The Gaussians that are seen; of a film a sequence, with those that are seen at any time in every frame."""
    rows = on_host(state[OUTPUT])
    if not settings.takes_film:
        return {"gaussians": asset(rows[0][seen(rows[0], settings.least_opacity)])}
    times = on_host(state["times"])
    if settings.interpolate and len(rows) > 1:
        more = on_host(state["between"])
        every = [np.concatenate([row[None], two]) for row, two in zip(rows[:-1], more, strict=True)]
        moments = [np.linspace(one, other, 3, endpoint=False) for one, other in itertools.pairwise(times)]
        rows, times = np.concatenate([*every, rows[-1:]]), np.concatenate([*moments, times[-1:]])
    kept = seen(rows, settings.least_opacity).any(0)
    return {"sequence": AssetSequence(tuple(asset(row[kept]) for row in rows), times)}
