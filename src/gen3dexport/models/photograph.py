"""A photograph for networks that look at all of it: its colours, and where it lies in a picture of another shape.

No torch. See `image_preparation` for pictures of a subject.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gen3dexport.assets.depth_geometry import cloud, surface
from gen3dexport.assets.depth_map import DepthMap
from gen3dexport.errors import UsageError
from gen3dexport.models import Request
from gen3dexport.models.image_preparation import read_image, sample_image

_GREY = 128  # what shows through transparency


@dataclass(frozen=True)
class Frame:
    """Where a photograph lies in the network's picture, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def inner(self) -> tuple[slice, slice]:
        """Its rows and columns in the network's picture."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """As an array [4], for a state."""
        return np.array([self.top, self.left, self.height, self.width])

    @classmethod
    def of(cls, numbers: Any) -> Frame:
        """The frame of its `numbers`."""
        return cls(*(int(n) for n in numbers))


def image_of(request: Request, does: str) -> Any:
    """What a request gives to a model that takes a photograph and nothing else; a seeded picture for golden data.

    Args:
        does: what the model does with it, for errors ("makes depth of a photograph").

    Raises:
        UsageError: when there is none, or more than that.
    """
    if request.features is not None:
        raise UsageError("features: this model takes a photograph and makes its features itself; give an image")
    if request.stand_in:
        return sample_image(request.seed) if request.image is None else request.image
    if request.prompt:
        raise UsageError(f"prompt: this model {does} alone; give an image, and no prompt")
    if request.image is None:
        raise UsageError(f"image: missing; this model {does}")
    return request.image


def photograph(source: Any) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A photograph's colours [H, W, 3], what is transparent on grey, and where it is more opaque than not [H, W].

    Raises:
        UsageError: when it cannot be read, or is less than two pixels wide or high.
    """
    image = read_image(source)
    if min(image.size) < 2:
        raise UsageError(f"image: is {image.width} x {image.height} pixels; depth needs two at least along each edge")
    if image.mode != "RGBA":
        return np.asarray(image), np.ones((image.height, image.width), bool)
    alpha = image.getchannel("A")
    ground = Image.new("RGB", image.size, (_GREY,) * 3)
    ground.paste(image, mask=alpha)
    return np.asarray(ground), np.asarray(alpha) > 127


def between_bars(height: int, width: int, size: tuple[int, int], patch: int) -> Frame:
    """Where a photograph lies in a picture of another shape: as large as can be, in the middle between two bars.

    Raises:
        UsageError: when it is so long that it would be narrower than a patch.
    """
    scale = min(size[0] / height, size[1] / width)
    inner = [min(round(scale * edge), most) for edge, most in zip((height, width), size, strict=True)]
    if min(inner) < patch:
        raise UsageError(
            f"image: its {width} x {height} pixels would be {inner[1]} x {inner[0]} in the network's picture of "
            f"{size[1]} x {size[0]}, narrower than a patch of {patch}; crop it, or set fit=stretch"
        )
    return Frame((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2, inner[0], inner[1])


def colors_on_grid(colors: NDArray[np.uint8], opaque: NDArray[np.bool_], longest: int) -> NDArray[np.uint8]:
    """A photograph's colours with opacity [h, w, 4], its longer edge `longest` pixels at most; means of the pixels."""
    height, width = opaque.shape
    shown = Image.fromarray(np.dstack([colors, np.where(opaque, 255, 0).astype(np.uint8)]))
    scale = min(1.0, longest / max(height, width))
    size = (max(2, round(scale * width)), max(2, round(scale * height)))
    return np.asarray(shown.resize(size, Image.Resampling.BOX))


def in_space(depth_map: DepthMap, colors: NDArray[np.uint8], cut: float) -> dict[str, Any]:
    """The mesh and the points of a map with a field of view, by kind.

    Args:
        colors: of the map's pixels, with opacity [H, W, 4]; what is transparent is left out.
        cut: share by which the farthest corner of a triangle may be farther than the nearest.
    """
    shown = colors[..., 3] > 127
    mesh, points = surface(depth_map, colors[..., :3], shown, cut), cloud(depth_map, colors[..., :3], shown)
    return {"mesh": mesh, "points": points}
