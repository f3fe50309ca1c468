"""The kind sequence: its arrays, files, pictures and scores."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets import kinds, usd_over_time
from gen3dexport.assets.asset import Asset
from gen3dexport.assets.draw.turning import moving_pictures
from gen3dexport.assets.file_format import FileFormat, npz
from gen3dexport.assets.film_files import EXTRA, PACKAGE, gif, mp4
from gen3dexport.assets.score import Scale, Score
from gen3dexport.assets.sequence import AssetSequence
from gen3dexport.assets.view import View
from gen3dexport.errors import UsageError

KIND = "sequence"


SCALES: tuple[Scale, ...] = ()
"""Its scores are those of its items' kind."""
_SHOWN = 4  # items in a picture


def arrays(sequence: AssetSequence) -> dict[str, NDArray[Any]]:
    """`times`, and the arrays of item K as `K.KIND.NAME`."""
    found: dict[str, NDArray[Any]] = {"times": sequence.times}
    for k, item in enumerate(sequence.items):
        found |= {f"{k}.{name}": values for name, values in kinds.to_arrays({item.kind: item}).items()}
    return found


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> AssetSequence:
    """The sequence of its arrays."""
    items: list[Asset] = []
    for k in range(len(arrays["times"])):
        own = {name.removeprefix(f"{k}."): v for name, v in arrays.items() if name.startswith(f"{k}.")}
        items.extend(kinds.from_arrays(own).values())
    return AssetSequence(tuple(items), arrays["times"])


def problem(sequence: AssetSequence) -> str | None:
    """What is wrong with the first item that has something wrong."""
    for k, item in enumerate(sequence.items):
        if (found := kinds.of(item).problem(item)) is not None:
            return f"item {k}: {found}"
    return None


def counts(sequence: AssetSequence) -> dict[str, int]:
    """Items, and the sums of what they count."""
    found = {"items": len(sequence.items)}
    for item in sequence.items:
        for name, count in kinds.of(item).counts(item).items():
            found[name] = found.get(name, 0) + count
    return found


def picture(sequence: AssetSequence) -> NDArray[np.uint8]:
    """Pictures of at most four items one below the other, from the first to the last."""
    count = len(sequence.items)
    shown = np.unique(np.linspace(0, count - 1, min(count, _SHOWN)).round().astype(int))
    pictures = [kinds.of(sequence.items[k]).picture(sequence.items[k]) for k in shown]
    width = max(p.shape[1] for p in pictures)
    padded = [np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in pictures]
    return np.concatenate(padded)


def scores(sequence: AssetSequence, reference: AssetSequence) -> tuple[Score, ...]:
    """The scores of the items' kind, each the worst over the items of the same place.

    Raises:
        ValueError: when the sequences differ in length or kind.
    """
    one, other = sequence.items, reference.items
    if len(one) != len(other) or one[0].kind != other[0].kind:
        raise ValueError(
            f"sequences differ: {len(one)} of kind {one[0].kind}, and {len(other)} of kind {other[0].kind}"
        )
    rows = [kinds.of(a).scores(a, b) for a, b in zip(one, other, strict=True)]
    return tuple(_worst(column) for column in zip(*rows, strict=True))


def _worst(scores: tuple[Score, ...]) -> Score:
    """The worst of scores of one name; one that is NaN is."""
    rank = [s.value if s.better == "higher" else -s.value for s in scores]
    return scores[int(np.argmin([-np.inf if np.isnan(r) else r for r in rank]))]


def extent(sequence: AssetSequence) -> float:
    """The longest edge of the first item.

    Raises:
        UsageError: where its kind has none.
    """
    item = sequence.items[0]
    _edit(item, "size")
    found: float = kinds.of(item).extent(item)  # type: ignore[attr-defined]
    return found


def _edit(item: Asset, name: str) -> Callable[[Any, Any], Any]:
    """A kind's edit of that name.

    Raises:
        UsageError: where the kind has none.
    """
    edits: Mapping[str, Callable[[Any, Any], Any]] = getattr(kinds.of(item), "EDITS", {})
    if name not in edits:
        raise UsageError(f"--{name.replace('_', '-')}: this is a sequence of {item.kind}, which cannot be changed so")
    return edits[name]


def _each(name: str) -> Callable[[AssetSequence, Any], AssetSequence]:
    """The edit of that name, done to every item."""
    return lambda sequence, value: replace(
        sequence, items=tuple(_edit(item, name)(item, value) for item in sequence.items)
    )


EDITS: Mapping[str, Callable[[AssetSequence, Any], AssetSequence]] = {
    name: _each(name) for name in ("largest_part", "max_faces", "sh_degree", "size")
}


def _moving(write: Callable[[Any, Any], bytes]) -> Callable[[AssetSequence, str], bytes]:
    """What writes moving pictures, as what writes a sequence."""
    return lambda sequence, title: write(*moving_pictures(sequence, lambda item: kinds.of(item).picture(item)))


def _zip(sequence: AssetSequence, title: str) -> bytes:
    """A file of each item, and `times.json` with the seconds of each file: a .ply where the kind has one, a .png of
    views, else an .npz.

    Raises:
        UsageError: for items of a kind that has none of these.
    """
    formats = kinds.of(sequence.items[0]).FILES
    known = (".png",) if isinstance(sequence.items[0], View) else (".ply", ".npz")
    ending = next((ending for ending in known if ending in formats), None)
    if ending is None:
        raise UsageError(f"a .zip holds a .ply or an .npz of every moment, and {sequence.items[0].kind} has neither")
    names = [f"moment.{k:04d}{ending}" for k in range(1, len(sequence.items) + 1)]
    times = dict(zip(names, sequence.times.tolist(), strict=True))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, item in zip(names, sequence.items, strict=True):
            archive.writestr(zipfile.ZipInfo(name), formats[ending](item, title), zipfile.ZIP_DEFLATED)
        archive.writestr(zipfile.ZipInfo("times.json"), json.dumps(times, indent=1) + "\n")
    return stream.getvalue()


FILES: Mapping[str, FileFormat] = {
    ".npz": npz(arrays),
    ".zip": FileFormat(_zip, up="own"),
    ".gif": FileFormat(_moving(gif)),
    ".mp4": FileFormat(_moving(mp4), package=PACKAGE, extra=EXTRA),
    **usd_over_time.FILES,
}
