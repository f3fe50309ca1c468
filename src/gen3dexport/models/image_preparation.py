"""An image made ready for an image encoder, on the host: the subject cut out, centred on black, normalised. No torch.

As TRELLIS prepares its images (Xiang et al. 2024, "Structured 3D Latents for Scalable and Versatile 3D Generation").
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from gen3dexport import telemetry
from gen3dexport.assets import exr
from gen3dexport.assets.colour import display_light
from gen3dexport.errors import MissingError, UsageError
from gen3dexport.models import Request
from gen3dexport.models.deep_pictures import GreyRange, scale_transparency
from gen3dexport.models.normalisation import IMAGENET

_SOLID = 0.8 * 255  # alpha from which a pixel counts as the subject
_MARGIN = 1.2  # edge of the crop over the longer side of the subject
_LONGEST = 1024  # pixels that background removal is given along the longer side


def read_image(source: Any) -> Image.Image:
    """An image in RGB or RGBA, turned upright by its EXIF note.

    Args:
        source: a file's path, an uint8 array [H, W, 3 or 4], or a Pillow image. An .exr file is in linear light.

    Raises:
        UsageError: when it is none of these, or cannot be read; MissingError without the package for .exr files.
    """
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] not in (3, 4) or 0 in source.shape:
            raise UsageError(f"image: needs uint8 [H, W, 3 or 4], not {source.dtype}{list(source.shape)}")
        image = Image.fromarray(source)
    elif isinstance(source, Image.Image):
        image = source
    elif not isinstance(source, (str, os.PathLike)):
        several = f"{len(source)} pictures" if isinstance(source, (list, tuple)) else type(source).__name__
        raise UsageError(f"image: needs one picture (a file, an uint8 array or a Pillow image), not {several}")
    else:
        if Path(source).suffix.lower() == ".exr":
            return _from_exr(Path(source))
        try:
            image = Image.open(Path(source))
            scale_transparency(image)
            image.load()
        except FileNotFoundError as error:
            raise UsageError(f"{source}: not a readable image: there is no such file") from error
        except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
            raise UsageError(f"{source}: not a readable image ({error})") from error
    return _in_bytes(ImageOps.exif_transpose(image), GreyRange.of(image))


def _from_exr(path: Path) -> Image.Image:
    """A plate in linear light: its channels R, G, B (or Y alone) as displays take them, cut off at white; and A.

    Raises:
        UsageError: when it cannot be read, or has no such channels; MissingError without the package for it.
    """
    if find_spec(exr.PACKAGE) is None:
        raise MissingError(f"{path}: the package OpenEXR is not installed; run: pip install 'gen3dexport[{exr.EXTRA}]'")
    try:
        channels = exr.channels_of(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a readable image ({error})") from error
    names = [next((n for n in wanted if n in channels), "") for wanted in (("R", "Y"), ("G", "Y"), ("B", "Y"))]
    if not all(names):
        raise UsageError(f"{path}: has channels {', '.join(channels)}; a picture has R, G and B, or Y")
    light = np.nan_to_num(np.stack([channels[name] for name in names], -1), nan=0.0)
    if "A" not in channels:
        return Image.fromarray(np.rint(255 * display_light(light)).astype(np.uint8))
    alpha = np.clip(np.nan_to_num(channels["A"], nan=0.0), 0, 1)[..., None]
    plain = display_light(light / np.where(alpha > 0, alpha, 1))  # such files have colours times alpha
    return Image.fromarray(np.rint(255 * np.concatenate([plain, alpha], -1)).astype(np.uint8))


def _in_bytes(image: Image.Image, grey: GreyRange) -> Image.Image:
    """An image of any of Pillow's modes in RGB or RGBA, by the range of its mode: Pillow itself cuts deep ones off.

    Raises:
        UsageError: for values whose range cannot be told, and for modes without a way to RGB.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return grey.in_bytes(image)
    has_alpha = image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info
    try:
        if image.mode in ("La", "RGBa"):  # colours times alpha: only the mode with plain ones is a step away
            image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
        return image.convert("RGBA" if has_alpha else "RGB")
    except ValueError as error:
        raise UsageError(f"image: Pillow's mode {image.mode} has no way to RGB; save it as RGB or RGBA") from error


def pixels(source: Any, size: int) -> np.ndarray:
    """The subject of an image as [1, 3, size, size] float32 in ImageNet's normalisation.

    Raises:
        UsageError: when the image cannot be read, or is transparent all over.
        MissingError: when its background must be removed first and the package or model for that is not here.
    """
    return normalised(centred(cut_out(read_image(source)), size))


def normalised(square: np.ndarray) -> np.ndarray:
    """A square of bytes [S, S, 3] as networks take it: [1, 3, S, S] float32 in ImageNet's normalisation."""
    return IMAGENET.picture(square.astype(np.float32) / 255)


def cut_out(image: Image.Image) -> Image.Image:
    """The image with its background transparent: as it is when it has any transparency, else by `rembg`.

    Raises:
        MissingError: when rembg or its model is needed and not here; nothing is downloaded.
    """
    if image.mode == "RGBA" and np.asarray(image.getchannel("A")).min() < 255:
        return image
    image = image.convert("RGB")
    if max(image.size) > _LONGEST:
        scale = _LONGEST / max(image.size)
        image = image.resize(
            (max(1, int(image.width * scale)), max(1, int(image.height * scale))), Image.Resampling.LANCZOS
        )
    return _without_background(image)


def _without_background(image: Image.Image) -> Image.Image:
    opaque = "image: has no transparency, so its background must be removed first"
    if find_spec("rembg") is None:
        raise MissingError(
            f"{opaque}, which needs rembg; run: pip install 'gen3dexport[background]', or give a PNG whose background "
            "is transparent"
        )
    telemetry.switch_off()  # rembg imports onnxruntime
    import rembg
    from rembg.sessions.u2net import U2netSession

    if U2netSession.resolve_existing("u2net.onnx") is None:  # making a session would download it
        raise MissingError(
            f"{opaque}, and rembg's model u2net is not here; download it once with:\n"
            "  python -c \"import rembg; rembg.new_session('u2net')\""
        )
    removed = rembg.remove(image, session=rembg.new_session("u2net"))
    assert isinstance(removed, Image.Image)
    return removed.convert("RGBA")


def centred(image: Image.Image, size: int) -> np.ndarray:
    """The subject of an RGBA image in the middle of a black square: uint8 [size, size, 3].

    Raises:
        UsageError: when no pixel is opaque enough, or all that are make one point.
    """
    rows, columns = np.nonzero(np.asarray(image.getchannel("A")) > _SOLID)
    if not len(rows):
        raise UsageError("image: nothing in it is opaque, so there is no subject; is its alpha channel right?")
    left, top, right, bottom = (int(v) for v in (columns.min(), rows.min(), columns.max(), rows.max()))
    half = int(_MARGIN * max(right - left, bottom - top)) // 2
    if half == 0:
        raise UsageError("image: its subject is a pixel or two wide; give a larger picture")
    x, y = (left + right) / 2, (top + bottom) / 2
    square = image.crop((round(x - half), round(y - half), round(x + half), round(y + half)))
    scaled = np.asarray(square.resize((size, size), Image.Resampling.LANCZOS), np.float32) / 255
    black: np.ndarray = (scaled[..., :3] * scaled[..., 3:] * 255).astype(np.uint8)
    return black


def picture_alone(request: Request) -> Any:
    """The picture that a request is made of, with nothing beside it; for golden data a seeded one where it has none.

    Raises:
        UsageError: for a request without a picture, or with more than that.
    """
    image = request.image
    if request.features is not None:
        raise UsageError("features: this model takes a picture and makes its features itself; give an image")
    if request.stand_in:
        image = sample_image(request.seed) if image is None else image
    elif request.prompt:
        raise UsageError("prompt: this model makes an asset of a picture alone; give an image, and no prompt")
    elif image is None:
        raise UsageError("image: missing; this model makes an asset of a picture")
    return image


def sample_image(seed: int, size: int = 256) -> np.ndarray:
    """A seeded picture for golden data, uint8 [size, size, 4]: a shaded, spotted ball on a transparent ground."""
    rng = np.random.default_rng(seed)
    y, x = (np.indices((size, size)) + 0.5) / size * 2 - 1
    radius = np.hypot(x, y) / 0.8
    light = np.sqrt(np.clip(1 - radius**2, 0, 1)) * (0.75 - 0.25 * x - 0.25 * y)
    waves = rng.uniform(2, 12, (3, 2))
    spots = [0.75 + 0.25 * np.sin(a * x * np.pi + b * y * np.pi + k) for k, (a, b) in enumerate(waves)]
    colour = np.stack([light * spot for spot in spots], -1)
    picture = np.concatenate([colour, (radius < 1)[..., None]], -1)
    drawn: np.ndarray = (np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return drawn
