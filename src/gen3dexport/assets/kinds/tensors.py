"""The kind tensors: its arrays, files, pictures and scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.array_checks import not_finite
from gen3dexport.assets.file_format import FileFormat, npz
from gen3dexport.assets.score import Scale, Score, distance, settled
from gen3dexport.assets.tensors import Tensors

KIND = "tensors"
SCALES = (Scale("cosine"), distance("relative_l2"))
_EDGE = 256  # pixels of a picture
_MOST = 4  # arrays that a picture shows, side by side


def arrays(tensors: Tensors) -> dict[str, NDArray[Any]]:
    """The arrays by their own names."""
    return dict(tensors.arrays)


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Tensors:
    """The tensors of their arrays."""
    return Tensors(dict(arrays))


def _safetensors(tensors: Tensors, title: str) -> bytes:
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(values) for name, values in tensors.arrays.items()})


FILES: Mapping[str, FileFormat] = {
    ".npz": npz(arrays),
    ".safetensors": FileFormat(_safetensors),
}


def problem(tensors: Tensors) -> str | None:
    """No numbers at all, or some that are not finite."""
    return not_finite(tensors.arrays) or (None if any(v.size for v in tensors.arrays.values()) else "it has no numbers")


def counts(tensors: Tensors) -> dict[str, int]:
    """How many arrays, and how many numbers in them."""
    return {"arrays": len(tensors.arrays), "numbers": sum(v.size for v in tensors.arrays.values())}


def picture(tensors: Tensors) -> NDArray[np.uint8]:
    """The first arrays side by side as grey squares: the numbers in their order, dark for small and light for large."""
    squares = [_square(values) for values in list(tensors.arrays.values())[:_MOST] if values.size]
    return np.repeat(np.concatenate(squares, axis=1)[..., None], 3, axis=2)


def _square(values: NDArray[Any]) -> NDArray[np.uint8]:
    flat = values.astype(np.float64).ravel()
    flat = flat[: _EDGE**2]
    edge = int(np.ceil(np.sqrt(len(flat))))
    low, span = flat.min(), float(np.ptp(flat)) or 1.0
    grid = np.full(edge * edge, 0.5)
    grid[: len(flat)] = (flat - low) / span
    at = np.arange(_EDGE) * edge // _EDGE
    shown: NDArray[np.uint8] = np.rint(255 * grid.reshape(edge, edge)[at][:, at]).astype(np.uint8)
    return shown


def scores(tensors: Tensors, reference: Tensors) -> tuple[Score, ...]:
    """The least cosine between an array and its reference, not below 0, and the largest ||a - r||_2 / ||r||_2.

    Raises:
        ValueError: when the two have other names or shapes.
    """
    shapes = [{name: v.shape for name, v in t.arrays.items()} for t in (tensors, reference)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"tensors differ in names or shapes: {shapes[0]} and {shapes[1]}")
    pair = (tensors, reference)
    empty = [not any(v.size for v in t.arrays.values()) for t in pair]
    known = settled(SCALES, empty, [not_finite(t.arrays) is None for t in pair])
    if known is not None:
        return known
    of_angle, of_length = SCALES
    both = [_alike(v, reference.arrays[name], of_length.worst) for name, v in tensors.arrays.items() if v.size]
    return of_angle(min(cosine for cosine, _ in both)), of_length(max(off for _, off in both))


def _alike(values: NDArray[Any], reference: NDArray[Any], worst: float) -> tuple[float, float]:
    """Cosine and relative distance of two arrays; two of zeros are alike."""
    one, other = (v.astype(np.float64).ravel() for v in (values, reference))
    lengths, off = np.linalg.norm(one) * np.linalg.norm(other), float(np.linalg.norm(one - other))
    cosine = float(one @ other / lengths) if lengths else float(off == 0)
    norm = float(np.linalg.norm(other))
    return float(np.clip(cosine, 0, 1)), off / norm if norm else (worst if off else 0.0)
