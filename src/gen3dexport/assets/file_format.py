"""How an asset becomes the bytes of a file, and what a reader of that file must know of its frame."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.errors import MissingError


@dataclass(frozen=True)
class FileFormat:
    """One ending of a kind of asset; called with an asset and a title, it gives the bytes of the file.

    Attributes:
        write: (asset, title) -> bytes. The title is what a page shows.
        up: the file's axis that points up, "y", "z" or "-y"; "own" where the files in it have theirs; "" where the file
            has no axes (pictures, pages).
            Frames are right-handed, all of them.
        per_metre: units of the file in a metre, where a size in metres is asked for; files without axes have no size.
        package: import name of what must be installed to write it; "" for nothing beyond the base install.
        extra: the extra of this project that brings the package.
        usual: whether such a file is expected to hold this kind; if not, a kind of which that is true goes first.
    """

    write: Callable[[Any, str], bytes]
    up: str = ""
    per_metre: float = 1.0
    package: str = ""
    extra: str = ""
    usual: bool = True

    def __call__(self, asset: Any, title: str = "") -> bytes:
        return self.write(asset, title)

    def require(self, path: Path) -> None:
        """Raises MissingError when what writes `path` is not installed."""
        if self.package and find_spec(self.package) is None:
            raise MissingError(
                f"{path}: the package {self.package} is not installed; run: pip install 'gen3dexport[{self.extra}]'"
            )


def written_by(content: Callable[[Any, str], bytes], ending: str, **frame: Any) -> FileFormat:
    """The format of an ending that `content(asset, ending)` gives the bytes of; `frame` has further fields."""
    return FileFormat(lambda asset, title: content(asset, ending), **frame)


def npz(arrays: Callable[[Any], Mapping[str, NDArray[Any]]], up: str = "") -> FileFormat:
    """The format `.npz` of a kind: its arrays by name, whole, in the pipeline's frame if they are of places."""

    def write(asset: Any, title: str) -> bytes:
        stream = io.BytesIO()
        np.savez(stream, allow_pickle=False, **arrays(asset))
        return stream.getvalue()

    return FileFormat(write, up)
