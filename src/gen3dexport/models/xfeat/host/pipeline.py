"""XFeat's pipeline on the host: a stereo pair -> keypoints of either picture -> matches -> points in space. No torch.

Axes: a point's x and z are those of its pixel in the left picture, from the middle, in the picture's longer edge; its y
is minus its disparity (how far left it lies in the right picture) in the same unit: what is near has the least y. The
points are looked at from -y.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gen3dexport.arrays import on_host
from gen3dexport.assets.points import Points
from gen3dexport.errors import UsageError
from gen3dexport.models import Request
from gen3dexport.models.declaration import AS_STORED, Call, Declaration, Reading, State, Weights
from gen3dexport.models.image_preparation import read_image
from gen3dexport.models.xfeat.host.keypoints import Keypoints, assigned, detect, normalised
from gen3dexport.models.xfeat.host.settings import FEATURES, GIVEN, MATCHER, OUTPUTS, Settings

PHOTOGRAPHS = ("motorcycle",)
"""Stereo pairs of scikit-image that a golden prompt may name."""
_MASKED = -3e4  # added to a score that must not count: finite in half precision, too


def components(settings: Settings) -> tuple[Declaration, ...]:
    """XFeat, for either picture, and LighterGlue."""
    return (
        _declared("xfeat", FEATURES, ("image",), OUTPUTS, partial(_look, settings), settings),
        _declared("lighterglue", MATCHER, GIVEN, ("log_assignment",), partial(_match, settings), settings),
    )


def _declared(
    name: str, checkpoint: str, inputs: tuple[str, ...], outputs: tuple[str, ...], step: Any, settings: Settings
) -> Declaration:
    def load(folder: Path, weights: Weights = "stored", reading: Reading = AS_STORED) -> Any:
        from gen3dexport.models.xfeat.networks.loading import load_component

        return load_component(name, settings, folder, weights)

    return Declaration(name, checkpoint, inputs, outputs, step, load)


def begin(settings: Settings, request: Request, files: Path, xp: Any) -> State:
    """Both pictures as the network takes them.

    Raises:
        UsageError: for a request without a pair of pictures, or with more than that.
    """
    image = request.image
    if request.features is not None:
        raise UsageError("features: this model takes pictures and makes its features itself; give an image")
    if request.stand_in:
        image = _golden_pair(request, settings) if image is None else image
    elif request.prompt:
        raise UsageError("prompt: this model matches two pictures; give an image of both side by side, and no prompt")
    elif image is None:
        raise UsageError(
            "image: missing; this model matches two pictures, side by side in one image, the left one first"
        )
    pair = read_image(image).convert("RGB")
    if pair.width < 2 or pair.width % 2:
        raise UsageError(f"image: {pair.width} pixels wide, which is no two pictures of one width side by side")
    half, size = pair.width // 2, (settings.width, settings.height)
    pictures = [pair.crop((x, 0, x + half, pair.height)).resize(size, Image.Resampling.BILINEAR) for x in (0, half)]
    left, right = (np.ascontiguousarray(np.asarray(p, np.float32).transpose(2, 0, 1)[None] / 255) for p in pictures)
    return {"left": xp.asarray(left), "right": xp.asarray(right), "colors": np.asarray(pictures[0])}


def _golden_pair(request: Request, settings: Settings) -> NDArray[np.uint8]:
    """A stereo pair of scikit-image where the prompt names one, else noise and the same noise, shifted by the seed."""
    if request.prompt in PHOTOGRAPHS:
        from skimage import data

        return np.concatenate(data.stereo_motorcycle()[:2], 1)
    rng = np.random.default_rng(request.seed)
    shape = settings.height // 4, settings.width // 4, 3
    left = np.kron(rng.integers(0, 256, shape, dtype=np.uint8), np.ones((4, 4, 1), np.uint8))
    return np.concatenate([left, np.roll(left, -4 - request.seed % 4, 1)], 1)


def _look(settings: Settings, state: State, program: Call, xp: Any) -> State:
    """One call of XFeat a picture, and the keypoints of each."""
    made: dict[str, Any] = {}
    for side in ("left", "right"):
        found = {name: on_host(value)[0] for name, value in program({"image": state[side]}).items()}
        maps = found["feats"], found["keypoints"], found["reliability"]
        keypoints = detect(*maps, settings.keypoints, settings.detection)
        made |= {f"{side}_points": keypoints.points, f"{side}_descriptors": keypoints.descriptors}
        made |= {f"{side}_scores": keypoints.scores}
    return state | made


def given(first: Keypoints, second: Keypoints, size: tuple[int, int], count: int) -> dict[str, NDArray[np.float32]]:
    """LighterGlue's inputs for two pictures' keypoints, filled up to `count` with what does not count.

    Args:
        size: height and width of the pictures.
    """
    found: dict[str, NDArray[np.float32]] = {}
    for i, keypoints in enumerate((first, second)):
        own = len(keypoints.points)
        points, descriptors = np.zeros((1, count, 2), np.float32), np.zeros((1, count, 64), np.float32)
        mask = np.full((1, 1, count), _MASKED, np.float32)
        points[0, :own], descriptors[0, :own] = normalised(keypoints.points, *size), keypoints.descriptors
        mask[..., :own] = 0
        found |= {f"points{i}": points, f"descriptors{i}": descriptors, f"mask{i}": mask}
    return {name: found[name] for name in GIVEN}


def _match(settings: Settings, state: State, program: Call, xp: Any) -> State:
    """One call of LighterGlue, and the pairs that it finds."""
    both = [
        Keypoints(*(state[f"{side}_{part}"] for part in ("points", "scores", "descriptors")))
        for side in ("left", "right")
    ]
    inputs = given(both[0], both[1], (settings.height, settings.width), settings.keypoints)
    answer = on_host(program({name: xp.asarray(value) for name, value in inputs.items()})["log_assignment"])[0]
    pairs, probability = assigned(answer[: len(both[0].points), : len(both[1].points)], settings.certainty)
    return state | {"matches": pairs, "probability": probability}


def make_assets(state: State, settings: Settings) -> dict[str, Any]:
    """The matched points of a finished state, in the left picture's colours; none where nothing matches."""
    pairs = state["matches"]
    left, right = state["left_points"][pairs[:, 0]], state["right_points"][pairs[:, 1]]
    edge = max(settings.height, settings.width)
    across, down = (left[:, i] - (n - 1) / 2 for i, n in enumerate((settings.width, settings.height)))
    positions = np.stack([across, right[:, 0] - left[:, 0], -down], 1) / edge
    x, y = (np.clip(np.rint(left[:, i]).astype(int), 0, n - 1) for i, n in enumerate((settings.width, settings.height)))
    return {"points": Points(positions.astype(np.float32), state["colors"][y, x])}
