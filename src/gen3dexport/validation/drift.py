"""Drift: how far a program's latent has strayed from the float32 one after each step of a sampler. No torch.

Both loops begin at the same noise. What a quantized network adds at one step is carried into the next, and later steps
may heal it or not, which the error of a single call does not say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gen3dexport.backends import Program


def snr_db(found: np.ndarray, expected: np.ndarray) -> list[float | None]:
    """10 log10(|expected|^2 / |found - expected|^2) of each latent of a trajectory; None where they are equal."""
    assert found.shape == expected.shape, f"{found.shape} against {expected.shape}"
    ratios: list[float | None] = []
    for a, b in zip(found.astype(np.float64), expected.astype(np.float64), strict=True):
        noise, signal = float(np.square(a - b).sum()), float(np.square(b).sum())
        ratios.append(10 * math.log10(signal / noise) if 0 < noise < math.inf and signal > 0 else None)
    return ratios


@dataclass(eq=False)
class Watched:
    """A program that keeps the latent and the time of every call; nothing is copied until it is asked for."""

    program: Program
    state: str
    time: str
    calls: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.xp: Any = self.program.xp

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        self.calls.append({name: inputs[name] for name in (self.state, self.time)})
        return self.program(inputs)
