"""A score: how alike an asset and its reference are, in one number."""

from __future__ import annotations

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
