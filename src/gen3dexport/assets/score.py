"""A score: how alike an asset and its reference are, in one number."""

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


def loss(scores: Mapping[str, Sequence[Score]]) -> float:
    """How much an asset lost: the largest 1 - primary score over its kinds; inf where one is NaN.

    Args:
        scores: by kind; the first of a kind is its primary one, which is 1 for equal assets.

    Raises:
        ValueError: when there is no score.
    """
    losses = (1 - some[0].value for some in scores.values() if some)
    return max(math.inf if math.isnan(value) else value for value in losses)
