"""Depth Anything V2's pipeline on the host: photograph -> map of depth -> points and mesh. No torch."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gen3dexport.arrays import on_host
from gen3dexport.assets.depth_map import DepthMap
from gen3dexport.models import Request
from gen3dexport.models.declaration import AS_STORED, Call, Declaration, Reading, State, Weights
from gen3dexport.models.depth_anything_v2.host.picture import brought_back, frame, pixels
from gen3dexport.models.depth_anything_v2.host.settings import COMPONENT, INPUT, OUTPUT, Settings
from gen3dexport.models.photograph import Frame, colors_on_grid, image_of, in_space, photograph


def components(settings: Settings) -> tuple[Declaration, ...]:
    """The one network: picture [1, 3, H, W] -> map [1, H, W]."""

    def load(folder: Path, weights: Weights = "stored", reading: Reading = AS_STORED) -> Any:
        from gen3dexport.models.depth_anything_v2.networks.loading import load_component

        return load_component(settings, folder / settings.checkpoint, weights, reading)

    return (Declaration(COMPONENT, settings.checkpoint, (INPUT,), (OUTPUT,), _estimate, load),)


def begin(settings: Settings, request: Request, files: Path, xp: Any) -> State:
    """The network's picture, where the photograph lies in it, the photograph's size, and with a field of view its
    colours and opacity [H', W', 4] on the grid of points.

    Raises:
        UsageError: for a request without a photograph or with more than that, or one that is too small or too long.
    """
    colors, opaque = photograph(image_of(request, "makes depth of a photograph"))
    height, width = colors.shape[:2]
    place = frame(height, width, settings.size, settings.model.patch_size, settings.rules, settings.fit)
    state = {
        INPUT: xp.asarray(pixels(colors, settings.size, place, settings.rules)),
        "frame": place.numbers,
        "photograph": np.array([height, width]),
    }
    if settings.field_of_view is not None:
        state["colors"] = colors_on_grid(colors, opaque, settings.grid)
    return state


def _estimate(state: State, program: Call, xp: Any) -> State:
    return state | {OUTPUT: program({INPUT: state[INPUT]})[OUTPUT]}


def make_assets(state: State, settings: Settings) -> dict[str, Any]:
    """The map in the photograph's size; with a field of view also a mesh and points on a grid of pixels."""
    values, place = on_host(state[OUTPUT])[0], Frame.of(state["frame"])
    metric, wide = settings.model.metric, settings.field_of_view
    made = partial(DepthMap, metric=metric, field_of_view=wide, inverse=not metric)
    height, width = (int(n) for n in state["photograph"])
    assets: dict[str, Any] = {"depth_map": made(brought_back(values, place, height, width))}
    if wide is not None:
        colors = state["colors"]
        grid = made(brought_back(values, place, *colors.shape[:2]))
        assets |= in_space(grid, colors, settings.cut)
    return assets
