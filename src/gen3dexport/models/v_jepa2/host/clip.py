"""The frames of a request as the encoder takes them. No torch.

As the release prepares films: the shorter side resized (bilinear, antialiased) to 256/224 of the network's edge, the
middle cut out, ImageNet's normalisation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gen3dexport.errors import UsageError
from gen3dexport.models import Request
from gen3dexport.models.image_preparation import normalised, read_image, sample_image
from gen3dexport.models.several_pictures import listed
from gen3dexport.models.v_jepa2.host.settings import Settings

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]

_WIDER = 256 / 224
_GREY = 128  # below what is transparent
_KEPT = 8  # times a clip's frames that are held while a film of unknown length is read
_STRAY = 4  # pixels that the stand-in's picture moves a frame


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames of a film: float32 [T, 3, S, S], normalised; seconds [T] at which they are."""

    frames: Floats
    times: NDArray[np.float64]


def clip_of(request: Request, settings: Settings) -> Clip:
    """The frames that a request's film gives to the network.

    Raises:
        UsageError: for a request without a film or with more than that, a film without or with too few frames, or a
            frame that cannot be read.
    """
    size, count = settings.model.crop_size, settings.frames
    rate = request.rate or settings.rate
    chosen = _chosen(_film(request, settings), count, settings.stride, size)
    if not chosen:
        raise UsageError("video: holds no frame")
    given, tubelet = len(chosen), settings.model.tubelet_size
    if given < tubelet:
        chosen = (chosen * tubelet)[:tubelet]
    if len(chosen) < count:
        spread = f", one in {settings.stride}" if settings.stride > 1 else ""
        fitting = len(chosen) // tubelet * tubelet
        still = " knobs.predictor=false" if fitting == tubelet else ""
        raise UsageError(
            f"video: gives {given} frame{'s' if given > 1 else ''}{spread}, and this bundle takes a clip of {count}; "
            f"give a longer film, or build one with knobs.frames={fitting}{still}"
        )
    numbers = np.array([number for number, _ in chosen])
    if len({*numbers.tolist()}) < count:
        numbers = np.arange(count)  # a still that was repeated
    values = np.concatenate([normalised(pixels) for _, pixels in chosen])
    return Clip(values, numbers / rate)


def _film(request: Request, settings: Settings) -> Iterable[Any]:
    """The film's pictures.

    Raises:
        UsageError: when there is none, or more than that.
    """
    if request.features is not None:
        raise UsageError("features: this model takes a film and makes features of it; leave them out")
    if request.video is not None and request.image is not None:
        raise UsageError("image: this model takes a film and nothing else; leave the picture out")
    if request.stand_in and request.video is None and request.image is None:
        return drifting(request.seed, settings.frames)
    if request.prompt and not request.stand_in:
        raise UsageError("prompt: this model makes features of a film; give that, and no prompt")
    if request.video is not None:
        return request.video
    if request.image is None:
        raise UsageError(
            "video: missing; this model makes features of a film: give a folder of its frames or a video file (run "
            "--video FOLDER_OR_FILE)"
        )
    return listed(request.image)


def _chosen(film: Iterable[Any], count: int, stride: int, size: int) -> list[tuple[int, Pixels]]:
    """The clip's frames with their numbers from 0, in order; fewer where the film is shorter.

    A film of more than eight clips' frames is thinned while it is read, so that it need not be held: of it the frames
    nearest to an even spread are taken that are left.
    """
    kept: list[tuple[int, Pixels]] = []
    step, total = max(1, stride), 0
    for number, picture in enumerate(film):
        total = number + 1
        if number % step == 0:
            kept.append((number, cut(picture, size)))
        if stride and len(kept) == count:
            return kept
        if not stride and len(kept) > _KEPT * count:
            kept, step = kept[::2], 2 * step
    if stride or len(kept) <= count:
        return kept
    places = np.array([number for number, _ in kept])
    wanted = np.round(np.linspace(0, total - 1, count))
    return [kept[int(np.abs(places - place).argmin())] for place in wanted]


def cut(source: Any, size: int) -> Pixels:
    """A frame's pixels [size, size, 3]: its middle; what is transparent is grey.

    Raises:
        UsageError: when it cannot be read.
    """
    image = read_image(source)
    if image.mode == "RGBA":
        ground = Image.new("RGB", image.size, (_GREY,) * 3)
        ground.paste(image, mask=image.getchannel("A"))
        image = ground
    shorter = int(size * _WIDER)
    scale = shorter / min(image.size)
    width, height = (shorter if edge == min(image.size) else int(scale * edge) for edge in image.size)
    left, top = ((edge - size) // 2 for edge in (width, height))
    resized = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized.crop((left, top, left + size, top + size)))


def drifting(seed: int, frames: int) -> list[Pixels]:
    """A seeded film for golden data: a spotted ball that moves to the right."""
    picture = sample_image(seed)
    return [np.roll(picture, _STRAY * k, 1) for k in range(frames)]
