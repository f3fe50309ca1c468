"""MoGe-2's pipeline on the host: photograph -> maps -> depth, normals, points and mesh in metres. No torch."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.arrays import on_host
from gen3dexport.assets.depth_map import DepthMap
from gen3dexport.models import Request
from gen3dexport.models.declaration import AS_STORED, Call, Declaration, Reading, State, Weights
from gen3dexport.models.moge_2.host.focal_shift import focal_of, recovered, span
from gen3dexport.models.moge_2.host.geometry import activated
from gen3dexport.models.moge_2.host.picture import pixels, published_grid
from gen3dexport.models.moge_2.host.settings import COMPONENT, Settings
from gen3dexport.models.photograph import Frame, between_bars, colors_on_grid, image_of, in_space, photograph

CHECKPOINT = "model"
INPUTS = ("image", "span")


def components(settings: Settings) -> tuple[Declaration, ...]:
    """The one network: picture [1, 3, H, W] and its span [2] -> raw maps [1, C, 16 h, 16 w], scale [1, 1]."""

    def load(folder: Path, weights: Weights = "stored", reading: Reading = AS_STORED) -> Any:
        from gen3dexport.models.moge_2.networks.loading import load_component

        return load_component(settings, folder / CHECKPOINT, weights, reading)

    made = settings.outputs
    return (Declaration(COMPONENT, CHECKPOINT, INPUTS, made, partial(_estimate, made), load),)


def begin(settings: Settings, request: Request, files: Path, xp: Any) -> State:
    """The network's picture and its span, where the photograph lies in it, the photograph's size, and its colours and
    opacity [H', W', 4] on the grid of points.

    Raises:
        UsageError: for a request without a photograph or with more than that, or one that is too small or too long.
    """
    colors, opaque = photograph(image_of(request, "makes depth of a photograph"))
    height, width = colors.shape[:2]
    place = _frame(height, width, settings)
    made = np.zeros((1, 3, *settings.size), np.float32)  # bars are 0, the mean colour
    picture = np.moveaxis(colors, -1, 0).astype(np.float32) / np.float32(255)
    made[0, :, *place.inner] = pixels(picture, (place.height, place.width))
    whole = _whole(height, width, place, settings.size)
    return {
        "image": xp.asarray(made),
        "span": xp.asarray(np.array(span(whole[1], whole[0]), np.float32)),
        "frame": place.numbers,
        "photograph": np.array([height, width]),
        "colors": colors_on_grid(colors, opaque, settings.grid),
    }


def _frame(height: int, width: int, settings: Settings) -> Frame:
    """Where a photograph lies in the network's picture."""
    grid = settings.patches
    if settings.fit == "stretch" or published_grid(height, width, grid[0] * grid[1]) == grid:
        return Frame(0, 0, *settings.size)
    return between_bars(height, width, settings.size, settings.model.vit.patch_size)


def _whole(height: int, width: int, place: Frame, size: tuple[int, int]) -> tuple[int, int]:
    """The size of a photograph with its bars, in its own pixels."""
    return round(height * size[0] / place.height), round(width * size[1] / place.width)


def _estimate(made: tuple[str, ...], state: State, program: Call, xp: Any) -> State:
    found = program({name: state[name] for name in INPUTS})
    return state | {name: found[name] for name in made}


def make_assets(state: State, settings: Settings) -> dict[str, Any]:
    """The map in the photograph's size, with normals where the model has them; mesh and points on a grid of pixels."""
    height, width = (int(n) for n in state["photograph"])
    place = Frame.of(state["frame"])
    full = _whole(height, width, place, settings.size)
    raw = {name: on_host(state[name])[0] for name in settings.outputs if name != "metric_scale"}
    maps = activated(raw, *full)
    top, left = round(place.top * full[0] / settings.size[0]), round(place.left * full[1] / settings.size[1])
    inner = (slice(top, top + height), slice(left, left + width))
    within = np.zeros(full, bool)
    within[inner] = True
    diagonal = math.hypot(*full)
    wide = settings.field_of_view
    # A focal length is relative to half the diagonal of what the network saw, the field of view is the photograph's.
    known = None if wide is None else focal_of(wide, width, height) * math.hypot(width, height) / diagonal
    focal, shift = recovered(maps["points"], (maps["mask"] > 0.5) & within, known)
    wide = math.degrees(2 * math.atan(width / max(focal * diagonal, 1e-9))) if wide is None else wide
    scale = float(on_host(state["metric_scale"])[0, 0]) if settings.model.scale_head is not None else 1.0
    depth = (maps["points"][inner][..., 2] + np.float32(shift)) * np.float32(scale)
    seen = (maps["mask"][inner] > 0.5) & (depth > 0)
    normals = np.where(seen[..., None], maps["normal"][inner], 0) if "normal" in maps else None
    shown = np.where(seen, depth, np.inf).astype(np.float32)
    metric = settings.model.scale_head is not None
    found = DepthMap(shown, metric, wide, normals=None if normals is None else normals.astype(np.float32))
    colors = state["colors"]
    grid = DepthMap(_at(shown, *colors.shape[:2]), metric, wide)
    return {"depth_map": found, **in_space(grid, colors, settings.cut)}


def _at(depth: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """A map at fewer pixels: the nearest of each, for means would lie between near and far."""
    rows, columns = ((2 * np.arange(n) + 1) * m // (2 * n) for n, m in zip((height, width), depth.shape, strict=True))
    return depth[np.ix_(rows, columns)]
