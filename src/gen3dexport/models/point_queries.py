"""Queries of a network at points, in chunks of one size, for programs have static shapes. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.arrays import on_host
from gen3dexport.models.declaration import Call


def answers(
    program: Call,
    given: Mapping[str, Any],
    points: NDArray[np.float32],
    chunk: int,
    channels: Mapping[str, int],
    xp: Any,
) -> dict[str, NDArray[np.float32]]:
    """Outputs [N, C] of a program at points [N, 3], by name.

    Args:
        program: takes what is `given` and `points` [1, chunk, 3]; gives outputs [1, chunk, C].
        channels: of each output.
    """
    found = {name: np.zeros((len(points), count), np.float32) for name, count in channels.items()}
    for start in range(0, len(points), chunk):
        part = points[start : start + chunk]
        padded = np.zeros((1, chunk, 3), np.float32)
        padded[0, : len(part)] = part
        answer = program({**given, "points": xp.asarray(padded)})
        for name, values in found.items():
            values[start : start + len(part)] = on_host(answer[name])[0, : len(part)]
    return found
