"""Tables of windowed attention: which tokens attend together, in bins of fixed size. No torch.

Windows of w^3 voxels hold between 1 and w^3 tokens, and how many of each depends on the shape. To have fixed shapes,
whole windows are packed into bins of w^3 slots, first fit, largest first; tokens of one bin attend to each other where
their window is the same. At most one bin is half full or less, so ceil(2 T / w^3) bins hold any T voxels: there is no
further budget to exceed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Coords = NDArray[np.int32]
Index = NDArray[np.int32]


@dataclass(frozen=True)
class Windows:
    """The windows of one shift, packed.

    Attributes:
        slots: [bins, L] int32, the token in each slot, T on padding.
        window: [bins, L] int32, the label of the slot's window, -1 on padding (which attends to padding: no slot is
            without a key).
        place: [T] int32, the flat slot of each token; padded tokens have slot 0.
    """

    slots: Index
    window: Index
    place: Index


def shape(rows: int, window_size: int) -> tuple[int, int]:
    """Number of bins and slots per bin for a budget of `rows` tokens."""
    slots = min(window_size**3, rows)
    return (1, slots) if slots == rows else (-(-2 * rows // slots), slots)


def labels(coords: Coords, window_size: int, shift: int) -> NDArray[np.int64]:
    """The window of each voxel: floor((coord + shift) / window_size) per axis, as a dense label [N]."""
    cell = (coords.astype(np.int64) + shift) // window_size
    return np.unique(cell, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def windows(coords: Coords, rows: int, window_size: int, shift: int) -> Windows:
    """The windows of a voxel set, packed for a budget of `rows` tokens.

    Args:
        coords: [N, 3] int, N <= rows.
        rows: T.
        window_size: w, edge of a window in voxels.
        shift: added to the coordinates: 0 or w / 2.
    """
    bins, size = shape(rows, window_size)
    label = labels(coords, window_size, shift)
    counts = np.bincount(label)
    start = _pack(counts, bins, size)
    order = np.argsort(label, kind="stable")
    rank = np.arange(len(coords)) - np.repeat(np.cumsum(counts) - counts, counts)
    flat = start[label[order]] + rank
    slots = np.full(bins * size, rows, np.int32)
    slots[flat] = order
    window = np.full(bins * size, -1, np.int32)
    window[flat] = label[order]
    place = np.zeros(rows, np.int32)
    place[order] = flat
    return Windows(slots.reshape(bins, size), window.reshape(bins, size), place)


def _pack(counts: NDArray[np.int64], bins: int, size: int) -> NDArray[np.int64]:
    """First flat slot of each window: first fit, largest window first (ties by label)."""
    used = np.zeros(bins, np.int64)
    start = np.zeros(len(counts), np.int64)
    for index in np.argsort(-counts, kind="stable"):
        target = int(np.argmax(used + counts[index] <= size))  # there is one: see the top of this file
        start[index] = target * size + used[target]
        used[target] += counts[index]
    return start
