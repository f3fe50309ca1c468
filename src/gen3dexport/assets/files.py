"""Which kind of asset goes into a file by its ending; the kinds bring their endings (`kinds`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets import kinds
from gen3dexport.assets.asset import Asset
from gen3dexport.assets.file_format import FileFormat
from gen3dexport.disk import check_place, write_output
from gen3dexport.errors import UsageError

Formats = Mapping[str, FileFormat]
_NONE: Formats = {}
_UP = {"": "", "y": "y up", "z": "z up", "-y": "y down", "own": "as its files"}


def endings(views: Formats = _NONE) -> dict[str, tuple[str, ...]]:
    """Every ending that there is, and the kinds that it can hold, by name.

    Args:
        views: further endings, for assets of any kind.
    """
    held: dict[str, list[str]] = {}
    for kind in kinds.names():
        for ending in (*kinds.of(kind).FILES, *views):
            held.setdefault(ending, []).append(kind)
    return {ending: tuple(some) for ending, some in sorted(held.items())}


def choose(path: Path, made: Sequence[str] | None = None, wanted: str = "", views: Formats = _NONE) -> str:
    """The kind of asset that goes into `path`: of those that fit, the first by name, usual ones before others.

    Args:
        made: the kinds that there are; every kind when None (to refuse an ending before the bundle is read).
        wanted: the kind that must, or "".
        views: further endings, for assets of any kind.

    Raises:
        UsageError: for an unknown ending or kind, or one that cannot be.
    """
    ending, known = path.suffix.lower(), endings(views)
    if ending not in known:
        raise UsageError(f"{path}: unknown format {path.suffix!r}; known endings are {', '.join(known)}")
    if wanted:
        kinds.of(wanted)
    here = kinds.names() if made is None else sorted(made)
    asked = [kind for kind in here if wanted in ("", kind)]
    fit = [kind for kind in asked if kind in known[ending]]
    if fit:
        return min(fit, key=lambda kind: not format_of(kind, path, views).usual)
    if not asked:
        raise UsageError(f"this bundle makes {', '.join(here)}, no {wanted}")
    fitting = dict.fromkeys(e for kind in asked for e in (*kinds.of(kind).FILES, *views))
    held = [kind for kind in known[ending] if kind in here] or known[ending]
    raise UsageError(f"{path}: a {ending} holds {' or '.join(held)}; name a {', '.join(fitting)} file")


def format_of(kind: str, path: Path, views: Formats = _NONE) -> FileFormat:
    """What writes an asset of that kind into `path`; the kind must be one that `choose` gives."""
    return {**views, **kinds.of(kind).FILES}[path.suffix.lower()]


def check_output(path: Path, wanted: str = "", views: Formats = _NONE) -> None:
    """Refuse an output that could not be written, before any work is done for it; makes nothing.

    Raises:
        UsageError: for an unknown ending or a place that cannot be written; MissingError without the format's package.
    """
    kind = choose(path, None, wanted, views)
    check_place(path)
    format_of(kind, path, views).require(path)


def write(asset: Asset, path: Path, title: str = "", views: Formats = _NONE) -> None:
    """Write an asset of a kind that the ending holds. The file appears whole or not at all.

    Args:
        title: of a page (.html).

    Raises:
        UsageError: for another ending, or a place that cannot be written.
    """
    format_ = format_of(choose(path, None, asset.kind, views), path, views)
    format_.require(path)
    write_output(path, format_(asset, title))


def frames(views: Formats = _NONE) -> list[tuple[str, str, str, str]]:
    """What a reader of a file must know: (endings, kinds, axis that points up, unit of a file with a size in metres),
    endings of equal ones together; frames are right-handed.

    Args:
        views: further endings, for assets of any kind.
    """
    rows: dict[str, tuple[str, str, str]] = {}
    for ending, held in endings(views).items():
        groups: dict[tuple[str, str], list[str]] = {}
        for kind in held if ending not in views else ("any kind",):
            format_ = views[ending] if ending in views else kinds.of(kind).FILES[ending]
            unit = "" if not format_.up else "millimetre" if format_.per_metre == 1000 else "metre"
            groups.setdefault((_UP[format_.up], unit), []).append(kind.replace("_", " "))
        for (up, unit), some in groups.items():
            rows[f"{ending} {up}"] = (", ".join(some), up, unit)
    joined: dict[tuple[str, str, str], list[str]] = {}
    for key, row in rows.items():
        joined.setdefault(row, []).append(key.partition(" ")[0])
    return [(" ".join(names), *row) for row, names in joined.items()]


def turntable(asset: Asset) -> NDArray[np.uint8]:
    """A picture of an asset of any kind."""
    return kinds.of(asset).picture(asset)


def counts(asset: Asset) -> dict[str, int]:
    """How large an asset is."""
    return kinds.of(asset).counts(asset)


def facts(made: Mapping[str, Asset]) -> dict[str, dict[str, Any]]:
    """What the kinds of assets say beyond their sizes, by name; each with a `summary` for people."""
    found: dict[str, dict[str, Any]] = {}
    for asset in made.values():
        if (own := getattr(kinds.of(asset), "facts", None)) is not None:
            found |= own(asset)
    return found
