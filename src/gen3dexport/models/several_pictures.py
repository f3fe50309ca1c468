"""The pictures of a request that gives several: a folder's, a list's, or an array's. No torch."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np


def is_many(source: Any) -> bool:
    """Whether a source is a list of pictures, or an array [S, H, W, C] of them."""
    return isinstance(source, (list, tuple)) or np.ndim(source if isinstance(source, np.ndarray) else 0) == 4


def listed(source: Any) -> list[Any]:
    """The pictures of a source: those of a list or an array, or a folder's files by name, numbers in names as numbers.

    A source that is one picture is the only one.
    """
    if is_many(source):
        return list(source)
    if isinstance(source, (str, os.PathLike)) and Path(source).is_dir():
        return sorted((p for p in Path(source).iterdir() if p.is_file() and not p.name.startswith(".")), key=by_number)
    return [source]


def by_number(path: Path) -> tuple[list[tuple[int, str]], str]:
    """What files are sorted by: their names, numbers in them as numbers (`a2` before `a10`)."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], path.name
