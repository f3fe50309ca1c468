"""The pictures of a request as the network takes them: views of an object, or a film with views of its first frame.

No torch. Values are colours in [0, 1] until `inputs` normalises them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gen3dexport.errors import UsageError
from gen3dexport.models import Request
from gen3dexport.models.image_preparation import read_image, sample_image
from gen3dexport.models.lgm.host.settings import KNOWN, Settings
from gen3dexport.models.normalisation import IMAGENET
from gen3dexport.models.photograph import image_of
from gen3dexport.models.resampling import linear
from gen3dexport.models.several_pictures import listed

Floats = NDArray[np.float32]

_STILL = "makes Gaussians of an object's views"
_FILM = "makes Gaussians of a film"


@dataclass(frozen=True, eq=False)
class Film:
    """A film.

    Attributes:
        front: [F, 3, S, S]; others: [F or 1, V - 1, 3, S, S], the other views of every frame, or of the first alone.
        times: seconds [F].
    """

    front: Floats
    others: Floats
    times: NDArray[np.float64]


def object_views(request: Request, settings: Settings) -> Floats:
    """The views [V, 3, S, S] of an object, the front first.

    Raises:
        UsageError: for another number of pictures, for a film, or for a picture that cannot be read.
    """
    if request.video is not None:
        raise UsageError("video: this model (LGM) makes a still object; give its views with image, or take L4GM")
    count = settings.model.num_input_views
    if request.stand_in and request.image is None:
        image_of(request, _STILL)
        every: list[Any] = [sample_image(request.seed + k) for k in range(count)]
    else:
        every = _side_by_side(listed(image_of(request, _STILL)), count)
    if len(every) != count:
        raise UsageError(
            f"image: {len(every)} pictures, and this model takes {count} views of an object, "
            f"{_degrees(count)} degrees around it; give {count} in a folder or a list, or side by side in one picture"
        )
    if settings.order == "imagedream":
        every = [*every[1:], every[0]]
    return np.stack([bilinear(on_white(one), settings.model.input_size) for one in every])


def film(request: Request, settings: Settings) -> Film:
    """A film's pictures, and the other views of its first frame; or every frame's views, frame after frame.

    Raises:
        UsageError: for a film without views, for another number of these, or for a picture that cannot be read.
    """
    size, count = settings.model.input_size, settings.model.num_input_views
    rate = request.rate or settings.rate
    if request.stand_in and request.image is None and request.video is None:
        image_of(request, _FILM)
        frames = 2 if settings.interpolate else settings.model.num_frames
        front = np.stack([area(on_white(sample_image(request.seed + k)), size) for k in range(frames)])
        every = [on_white(sample_image(request.seed + 100 + k)) for k in range(count - 1)]
        others = np.stack([bilinear(one, size) for one in every])[None] if every else front[:1, None][:, :0]
        return Film(front, others, np.arange(frames) / rate)
    if request.video is None:
        pictures = listed(image_of(request, _FILM))
        if len(pictures) < count or len(pictures) % count:
            raise UsageError(
                f"image: {len(pictures)} pictures, and this model takes {count} views of every frame, frame after "
                f"frame; give a multiple of {count}, or a film with the views of its first frame (run --video FILM "
                "--image FOLDER)"
            )
        made = np.stack([area(on_white(one), size) for one in pictures]).reshape(-1, count, 3, size, size)
        return Film(made[:, 0], made[:, 1:], np.arange(len(made)) / rate)
    image_of(replace(request, image=()), _FILM)  # refuses a prompt and features
    if request.image is None and count > 1:
        raise UsageError(
            f"image: missing; a film shows one side, and this model needs the {count - 1} others of its first frame, "
            f"{_degrees(count)[3:]} degrees around it (drawn of its Gaussians by LGM, or made by a multi-view model): "
            "give them in a folder (run --video FILM --image FOLDER)"
        )
    front = np.stack([area(on_white(one), size) for one in request.video] or _nothing())
    given = listed(request.image) if count > 1 else []
    if len(given) not in (count - 1, count):
        raise UsageError(
            f"image: {len(given)} pictures, and this model takes the {count - 1} other views of a film's first frame, "
            f"or all {count} with that frame first"
        )
    beside = [bilinear(on_white(one), size) for one in given[len(given) - count + 1 :]]
    shape = (1, count - 1, 3, size, size)
    return Film(front, np.asarray(beside, np.float32).reshape(shape), np.arange(len(front)) / rate)


def _nothing() -> list[Floats]:
    raise UsageError("video: holds no frame")


def _degrees(count: int) -> str:
    return ", ".join(f"{360 * k / count:g}" for k in range(count))


def _side_by_side(every: list[Any], count: int) -> list[Any]:
    """The views of one picture that has them side by side; else what was given."""
    if len(every) == 1 and count > 1:
        image = read_image(every[0])
        if image.width == count * image.height:
            edge = image.height
            return [image.crop((edge * k, 0, edge * (k + 1), edge)) for k in range(count)]
    return every


def on_white(source: Any) -> Floats:
    """A picture [3, H, W] in [0, 1]; what is transparent is white, and so is what makes it a square.

    Raises:
        UsageError: when it cannot be read.
    """
    image = read_image(source)
    edge = max(image.size)
    ground = Image.new("RGB", (edge, edge), (255, 255, 255))
    place = ((edge - image.width) // 2, (edge - image.height) // 2)
    ground.paste(image.convert("RGB"), place, image.getchannel("A") if image.mode == "RGBA" else None)
    return np.ascontiguousarray(np.asarray(ground, np.float32).transpose(2, 0, 1) / 255)


def bilinear(picture: Floats, size: int) -> Floats:
    """A picture [3, H, W] at [3, size, size], without antialiasing, as the release resizes views."""
    return linear(linear(picture, size, 1, corners=False), size, 2, corners=False)


def area(picture: Floats, size: int) -> Floats:
    """A picture [3, H, W] at [3, size, size]: means of the pixels that a new one touches, as the release resizes a
    film's frames."""
    for axis in (1, 2):
        here = picture.shape[axis]
        low = np.arange(size) * here // size
        high = -(-(np.arange(size) + 1) * here // size)
        sums = np.cumsum(picture, axis, dtype=np.float64)
        sums = np.concatenate([np.zeros_like(np.take(sums, [0], axis)), sums], axis)
        shape = [1, 1, 1]
        shape[axis] = size
        means = (np.take(sums, high, axis) - np.take(sums, low, axis)) / (high - low).reshape(shape)
        picture = means.astype(np.float32)
    return picture


def inputs(pictures: Floats, rays: Floats) -> Floats:
    """The network's input [1, T V, 9, S, S] of pictures [T, V, 3, S, S] and the rays [V, 6, S, S] of the views."""
    frames = len(pictures)
    colors = IMAGENET.of(pictures, -3)
    beside = np.broadcast_to(rays, (frames, *rays.shape))
    made = np.concatenate([colors, beside], 2).astype(np.float32)
    return made.reshape(1, frames * len(rays), *made.shape[2:])


def between(one: Floats, other: Floats) -> Floats:
    """Pictures [4, V, 3, S, S] of two known frames' [V, 3, S, S] and of two between them, blended in thirds."""
    shares = np.linspace(0, 1, KNOWN, dtype=np.float32)[:, None, None, None, None]
    return (1 - shares) * one + shares * other


def chunks(count: int, frames: int) -> Sequence[int]:
    """First frames of the calls that a film of `count` frames takes; each is the last one of the call before."""
    return range(0, max(1, count - 1), max(1, frames - 1)) if frames > 1 else range(count)
