"""What other packages add: their entry points of our groups, by name."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points


def found(group: str) -> Mapping[str, EntryPoint]:
    """The entry points of a group, by name; of a name that two packages use, the one that comes first on the path."""
    return _found(group, tuple(sys.path))


@functools.cache
def _found(group: str, path: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    # Every installed package's file is read for an answer: asked once for a search path.
    by_name: dict[str, EntryPoint] = {}
    for point in entry_points(group=group):
        by_name.setdefault(point.name, point)
    return by_name
