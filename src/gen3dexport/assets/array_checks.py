"""Checks of an asset's arrays that every kind needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def not_finite(arrays: Mapping[str, NDArray[Any]]) -> str | None:
    """Which of the arrays holds NaN or infinity, as a sentence's part; None when all numbers are finite."""
    for name, values in arrays.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            bad = int((~np.isfinite(values)).sum())
            return f"{bad} of {values.size} numbers in its {name} are not finite"
    return None


def check_shapes(count: int, **named: tuple[NDArray[Any], tuple[int, ...]]) -> None:
    """Check arrays [count, *rest], given by name with their `rest`.

    Raises:
        ValueError: for the first of another shape.
    """
    for name, (values, rest) in named.items():
        if values.shape != (count, *rest):
            raise ValueError(f"{name} have shape {list(values.shape)}; need {[count, *rest]}")
