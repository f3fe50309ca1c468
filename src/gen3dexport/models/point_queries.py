"""Queries of a network at points, in chunks of one size, for programs have static shapes. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


def in_chunks(
    run: Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]],
    given: Mapping[str, NDArray[Any]],
    points: NDArray[np.float32],
    output: str,
) -> dict[str, NDArray[Any]]:
    """One output [B, N, C] of a network at points [B, N, 3], a chunk of the size of the `given` points a call; beside
    it the last call's other outputs."""
    chunk, found = given["points"].shape[1], []
    made: Mapping[str, NDArray[Any]] = {}
    for start in range(0, points.shape[1], chunk):
        part = points[:, start : start + chunk]
        made = run({**given, "points": np.pad(part, ((0, 0), (0, chunk - part.shape[1]), (0, 0)))})
        found.append(made[output][:, : part.shape[1]])
    return {**made, output: np.concatenate(found, 1)}
