"""The frames of a film, in order: a folder's pictures, or a video file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from gen3dexport.errors import MissingError, UsageError
from gen3dexport.models.several_pictures import by_number

PACKAGE, EXTRA = "av", "video"
_HIGH_DEFINITION = 720  # lines from which a video that names no colour matrix is taken as ITU-R BT.709, as players do
_UNSPECIFIED, _BT_709 = 2, 1  # colour matrices by ITU-T H.273


@dataclass(frozen=True)
class Frame:
    """A frame: its number in the film, what it is called, and what `read_image` takes."""

    number: int
    name: str
    image: Any


@dataclass(frozen=True)
class Film:
    """Frames that are read one at a time.

    Attributes:
        path: the folder or file; count: how many frames, None where the file does not say.
        rate: frames a second, None for pictures.
    """

    path: Path
    count: int | None
    rate: float | None
    _pictures: tuple[tuple[int, Path], ...] = ()

    def frames(self) -> Iterator[Frame]:
        """Every frame, in order.

        Raises:
            UsageError: when the video is damaged.
        """
        if self._pictures:
            return (Frame(number, path.name, path) for number, path in self._pictures)
        return _decoded(self.path)

    def spare(self, output: Path, numbered: Callable[[Path, int], Path]) -> None:
        """Refuse an output whose frames would replace the film's own pictures.

        Raises:
            UsageError: naming one.
        """
        for number, picture in self._pictures:
            if (made := numbered(output, number)).resolve() == picture.resolve():
                raise UsageError(f"--out {output}: {made} is a picture of the film; write into another folder")


def open_film(path: Path) -> Film:
    """The film of a folder or video file; reads no frame.

    A folder's pictures are numbered by the last number in their names (`plate.1001.exr` is 1001) where each has one of
    its own, else from 1 by name; a video's frames from 1.

    Raises:
        UsageError: when there is none, or it cannot be read; MissingError without the package for video files.
    """
    if path.is_dir():
        pictures = _numbered(_pictures(path))
        return Film(path, len(pictures), None, tuple(pictures))
    if not path.is_file():
        raise UsageError(f"--video {path}: no such folder or file")
    if find_spec(PACKAGE) is None:
        raise MissingError(
            f"--video {path}: the package av is not installed; run: pip install 'gen3dexport[{EXTRA}]', or give a "
            "folder of pictures"
        )
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UsageError(f"--video {path}: holds no video; give a video file or a folder of pictures")
            stream = container.streams.video[0]
            rate: Fraction | None = stream.average_rate
            return Film(path, stream.frames or None, None if rate is None else float(rate))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise UsageError(f"--video {path}: not a readable video ({error})") from error


def _pictures(folder: Path) -> list[Path]:
    known = {*Image.registered_extensions(), ".exr"}
    found = [p for p in folder.iterdir() if p.suffix.lower() in known and not p.name.startswith(".") and p.is_file()]
    if not found:
        raise UsageError(f"--video {folder}: holds no pictures (.png, .jpg, .tif, .exr, ...)")
    return sorted(found, key=by_number)


def _numbered(pictures: list[Path]) -> list[tuple[int, Path]]:
    numbers = [int(found[-1]) if (found := re.findall(r"\d+", path.stem)) else None for path in pictures]
    if None in numbers or len({*numbers}) < len(numbers):
        return list(enumerate(pictures, 1))
    return sorted((number, path) for number, path in zip(numbers, pictures, strict=True) if number is not None)


def _decoded(path: Path) -> Iterator[Frame]:
    import av

    number = 0
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(container.streams.video[0]):
                number += 1
                unnamed = frame.colorspace == _UNSPECIFIED and frame.height >= _HIGH_DEFINITION
                matrix = _BT_709 if unnamed else None
                upright = frame.to_ndarray(format="rgb24", src_colorspace=matrix)
                turns = round(frame.rotation / 90) % 4  # counter-clockwise, as numpy's
                yield Frame(number, f"frame {number}", Image.fromarray(upright).rotate(90 * turns, expand=True))
    except (av.FFmpegError, OSError) as error:
        raise UsageError(f"--video {path}: is damaged after frame {number} ({error})") from error
    if not number:
        raise UsageError(f"--video {path}: holds no frame")
