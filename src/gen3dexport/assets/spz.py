"""Files of 3D Gaussians in SPZ, version 3: about a tenth of a .ply, with small losses.

Source: the format's description in its reference library's README (Niantic Labs, "spz"). Frame: right, up, back.
"""

from __future__ import annotations

import gzip
import math
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.gaussians import Gaussians
from gen3dexport.assets.harmonics import degree_of
from gen3dexport.errors import UsageError

_MAGIC, _VERSION = 0x5053474E, 3
_MOST_FRACTION = 16  # bits of a position after the point
_FURTHEST = 2**23 - 1  # of 24 bits, one is the sign
_COLOR_SCALE = 0.15
_SH_STEPS = (1, 8, 16, 16)  # by degree: how many codes fall together, so that gzip has less to keep


def spz(gaussians: Gaussians) -> bytes:
    """The bytes of an .spz; the Gaussians are in the file's frame already.

    Positions are kept to 2^-17 where they are within 64, scales to 3 percent, colours and opacities to 1/255.

    Raises:
        UsageError: for positions beyond 2^23.
    """
    count, degree = len(gaussians.positions), degree_of(gaussians.sh.shape[1])
    fraction = _fraction(gaussians.positions)
    header = struct.pack("<IIIBBBB", _MAGIC, _VERSION, count, degree, fraction, 0, 0)
    fixed = np.rint(gaussians.positions.astype(np.float64) * 2**fraction).astype("<i4")
    positions = fixed.reshape(-1, 1).view(np.uint8).reshape(-1, 4)[:, :3]
    with np.errstate(divide="ignore"):
        scales = 16 * (np.log(gaussians.scales.astype(np.float64)) + 10)
    parts = (
        positions,
        _codes(255 * gaussians.opacities),
        _codes(255 * (_COLOR_SCALE * gaussians.sh[:, 0] + 0.5)),
        _codes(scales),
        _smallest_three(gaussians.rotations.astype(np.float64)).astype("<u4"),
        *(_harmonics(gaussians.sh, k) for k in range(1, degree + 1)),
    )
    rest = [part.reshape(count, math.prod(part.shape[1:])) for part in parts[5:]]  # by Gaussian, not by degree
    harmonics = np.concatenate(rest, axis=1).tobytes() if rest else b""
    return gzip.compress(header + b"".join(part.tobytes() for part in parts[:5]) + harmonics, mtime=0)


def _fraction(positions: NDArray[np.float32]) -> int:
    """Bits after the point, so many that the furthest position fits into 24 bits with its sign."""
    furthest = float(np.abs(positions).max(initial=1.0))
    if furthest > _FURTHEST:
        raise UsageError(f".spz takes places within {_FURTHEST:,}, not {furthest:,.0f}; ask a smaller size, or a .ply")
    return max(0, min(_MOST_FRACTION, 22 - math.ceil(math.log2(furthest))))


def _codes(values: NDArray[Any]) -> NDArray[np.uint8]:
    codes: NDArray[np.uint8] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return codes


def _smallest_three(rotations: NDArray[np.float64]) -> NDArray[np.uint32]:
    """Quaternions (w, x, y, z) in 32 bits: which of (x, y, z, w) is largest in 2, the others in 10 each, as a sign and
    511 times their share of sqrt(1/2), the first of them highest."""
    xyzw = rotations[:, [1, 2, 3, 0]]
    largest = np.argmax(np.abs(xyzw), axis=1)
    rows = np.arange(len(xyzw))
    negative = xyzw[rows, largest] < 0
    packed: NDArray[np.uint32] = largest.astype(np.uint32)
    for place in range(4):
        value = xyzw[:, place]
        size = np.minimum(np.rint(511 * np.abs(value) * math.sqrt(2)), 511).astype(np.uint32)
        code = ((value < 0) ^ negative).astype(np.uint32) << np.uint32(9) | size
        packed = np.where(largest == place, packed, packed << np.uint32(10) | code)
    return packed


def _harmonics(sh: NDArray[np.float32], degree: int) -> NDArray[np.uint8]:
    step = _SH_STEPS[degree]
    values = np.rint(128 * sh[:, degree**2 : (degree + 1) ** 2].astype(np.float64)) + 128
    return _codes(np.floor((values + step // 2) / step) * step)
