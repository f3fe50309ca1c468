"""Depth Anything 3's pipeline on the host: photographs -> maps and cameras -> depth, points and mesh. No torch."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.arrays import on_host
from gen3dexport.assets.depth_map import DepthMap
from gen3dexport.assets.sequence import AssetSequence
from gen3dexport.models import Request
from gen3dexport.models.declaration import AS_STORED, Call, Declaration, Reading, State, Weights
from gen3dexport.models.depth_anything_3.host.cameras import matrices
from gen3dexport.models.depth_anything_3.host.picture import frame, pixels
from gen3dexport.models.depth_anything_3.host.settings import CHECKPOINT, COMPONENT, INPUT, Settings
from gen3dexport.models.depth_anything_3.host.sky import FOCAL, SKY, with_sky
from gen3dexport.models.depth_anything_3.host.views import in_world, photographs
from gen3dexport.models.photograph import Frame, colors_on_grid, in_space
from gen3dexport.models.resampling import linear

Floats = NDArray[np.float32]


def components(settings: Settings) -> tuple[Declaration, ...]:
    """The one network: pictures [1, S, 3, H, W] -> maps [1, S, H, W], and poses [1, S, 9] where the model has them."""

    def load(folder: Path, weights: Weights = "stored", reading: Reading = AS_STORED) -> Any:
        from gen3dexport.models.depth_anything_3.networks.loading import load_component

        return load_component(settings, folder / CHECKPOINT, weights, reading)

    made = settings.outputs
    return (Declaration(COMPONENT, CHECKPOINT, (INPUT,), made, partial(_estimate, made), load),)


def begin(settings: Settings, request: Request, files: Path, xp: Any) -> State:
    """The network's pictures, where the photographs lie in them, their sizes, and the colours and opacity of view K as
    `colors.K` [H', W', 4] on its grid of points.

    Raises:
        UsageError: for a request without as many photographs as views, with more than that, or with one that is too
            small or too long.
    """
    every = photographs(request, settings.views)
    places = [frame(colors.shape[0], colors.shape[1], settings.size, settings.fit) for colors, _ in every]
    made = [pixels(colors, settings.size, place) for (colors, _), place in zip(every, places, strict=True)]
    state = {
        INPUT: xp.asarray(np.stack([np.stack(made)])),  # not [None], whose stride of 0 ExecuTorch refuses
        "frames": np.stack([place.numbers for place in places]),
        "photographs": np.array([colors.shape[:2] for colors, _ in every]),
    }
    for view, (colors, opaque) in enumerate(every):
        state[f"colors.{view}"] = colors_on_grid(colors, opaque, settings.grid)
    return state


def _estimate(made: tuple[str, ...], state: State, program: Call, xp: Any) -> State:
    found = program({INPUT: state[INPUT]})
    return state | {name: found[name] for name in made}


def make_assets(state: State, settings: Settings) -> dict[str, Any]:
    """The map of the first view in its photograph's size; with a camera a mesh and points on a grid of pixels; of
    several views all their maps, and the points of all of them."""
    made = {name: on_host(state[name])[0] for name in settings.outputs}
    places = [Frame.of(numbers) for numbers in state["frames"]]
    wide = _fields_of_view(made.get("pose"), places, settings)
    metric = settings.model.metric and settings.field_of_view is not None
    maps, skies = [], []
    for view, place in enumerate(places):
        depth = made["depth"][view]
        sky = made["sky"][view] if "sky" in made else np.zeros_like(depth)
        depth = _in_units(with_sky(depth[place.inner], sky[place.inner]), place, settings)
        maps.append(depth)
        skies.append(sky[place.inner])

    def at(view: int, height: int, width: int) -> DepthMap:
        return DepthMap(_sized(maps[view], height, width), metric, wide[view])

    sizes = [(int(height), int(width)) for height, width in state["photographs"]]
    if settings.views > 1:
        every = tuple(at(view, *size) for view, size in enumerate(sizes))
        times = np.arange(len(every), dtype=np.float64)
        return {
            "depth_map": every[0],
            "sequence": AssetSequence(every, times),
            "points": _points(state, made["pose"], maps, places, settings),
        }
    assets: dict[str, Any] = {"depth_map": at(0, *sizes[0])}
    if wide[0] is not None:
        colors = state["colors.0"].copy()
        height, width = colors.shape[:2]
        colors[_sized(skies[0], height, width) >= SKY, 3] = 0  # the sky is no surface
        assets |= in_space(at(0, height, width), colors, settings.cut)
    return assets


def _sized(values: Floats, height: int, width: int) -> Floats:
    """A map in another size: bilinear, the corners of both on each other."""
    return linear(linear(values, height, 0, corners=True), width, 1, corners=True)


def _fields_of_view(pose: Floats | None, places: list[Frame], settings: Settings) -> list[float | None]:
    """Degrees that the views' photographs span: what was set, or by the cameras of the pictures that have them."""
    if settings.field_of_view is not None or pose is None:
        return [settings.field_of_view] * len(places)
    cameras = matrices(pose, settings.size)[1]
    return [
        math.degrees(2 * math.atan(place.width / 2 / float(camera[0, 0])))
        for camera, place in zip(cameras, places, strict=True)
    ]


def _in_units(depth: Floats, place: Frame, settings: Settings) -> Floats:
    """Depths of a metric model in metres, where the focal length is known; others as they are."""
    if not settings.model.metric or settings.field_of_view is None:
        return depth
    focal = place.width / 2 / math.tan(math.radians(settings.field_of_view) / 2)
    return (depth * np.float32(focal / FOCAL)).astype(np.float32)


def _points(state: State, pose: Floats, maps: list[Floats], places: list[Frame], settings: Settings) -> Any:
    """The points of all views, in the pixels of the network's maps."""
    extrinsics, cameras = matrices(pose, settings.size)
    depths = np.ones((len(maps), *settings.size), np.float32)
    shown = np.zeros(depths.shape, bool)
    colors = np.zeros((*depths.shape, 3), np.uint8)
    for view, (depth, place) in enumerate(zip(maps, places, strict=True)):
        inner = (view, *place.inner)
        depths[inner] = depth
        own = state[f"colors.{view}"]
        rows, columns = (
            (2 * np.arange(n) + 1) * m // (2 * n)
            for n, m in zip((place.height, place.width), own.shape[:2], strict=True)
        )
        near = own[np.ix_(rows, columns)]
        colors[inner], shown[inner] = near[..., :3], near[..., 3] > 127
    return in_world(depths, extrinsics, cameras, colors, shown)
