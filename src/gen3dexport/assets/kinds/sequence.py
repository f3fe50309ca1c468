"""The kind sequence: its arrays, files, pictures and scores."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets import kinds
from gen3dexport.assets.asset import Asset
from gen3dexport.assets.file_format import FileFormat, npz
from gen3dexport.assets.score import Scale, Score
from gen3dexport.assets.sequence import AssetSequence

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


def _gif(sequence: AssetSequence, title: str) -> bytes:
    from PIL import Image

    pictures = [Image.fromarray(kinds.of(item).picture(item)) for item in sequence.items]
    steps = np.diff(sequence.times)
    waits = [*steps, steps[-1] if len(steps) else 0.1]
    stream = io.BytesIO()
    milliseconds = [max(20, round(1000 * float(wait))) for wait in waits]
    pictures[0].save(stream, format="GIF", save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0)
    return stream.getvalue()


FILES: Mapping[str, FileFormat] = {".npz": npz(arrays), ".gif": FileFormat(_gif)}
