"""A score: how alike an asset and its reference are, in one number; and the scales that scores are on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Score:
    """One number of an asset against its reference.

    Attributes:
        name: unique among the scores of the asset's kind, e.g. `f_score`.
        value: may be infinite or NaN where the mathematics says so.
        better: which way is better; the unit is empty for a pure number.
    """

    name: str
    value: float
    better: Literal["higher", "lower"]
    unit: str = ""


@dataclass(frozen=True)
class Scale:
    """What a kind of asset is scored on; called with a value, it gives the score.

    Attributes:
        name, better, unit: as of `Score`.
        best: the value of equal assets; worst: the value where one of the two is nothing.
    """

    name: str
    better: Literal["higher", "lower"] = "higher"
    unit: str = ""
    best: float = 1.0
    worst: float = 0.0

    @property
    def range(self) -> tuple[float, float]:
        """The least and the largest value."""
        return min(self.best, self.worst), max(self.best, self.worst)

    def __call__(self, value: float) -> Score:
        return Score(self.name, float(value), self.better, self.unit)


def distance(name: str, unit: str = "") -> Scale:
    """A scale from 0 for equal to infinity."""
    return Scale(name, "lower", unit, best=0.0, worst=math.inf)


CUBE_EDGES = "cube edges"
"""The unit of lengths in an asset: edges of the unit cube that it stands in."""
PSNR = Scale("psnr", "higher", "dB", best=math.inf, worst=-math.inf)
SSIM = Scale("ssim")


def settled(scales: Sequence[Scale], empty: Sequence[bool], finite: Sequence[bool]) -> tuple[Score, ...] | None:
    """The scores where no comparison is possible: the best of two empty assets, the worst where one of the two is empty
    or has values that are not finite; None where they can be compared.

    Args:
        empty, finite: of the asset and of its reference.
    """
    if all(finite) and not any(empty):
        return None
    equal = all(finite) and all(empty)
    return tuple(scale(scale.best if equal else scale.worst) for scale in scales)


def loss(scores: Mapping[str, Sequence[Score]]) -> float:
    """How much an asset lost: the largest 1 - primary score over its kinds; inf where one is NaN.

    Args:
        scores: by kind; the first of a kind is its primary one, which is 1 for equal assets.

    Raises:
        ValueError: when there is no score.
    """
    losses = (1 - some[0].value for some in scores.values() if some)
    return max(math.inf if math.isnan(value) else value for value in losses)
