"""Arrays by name: what a model gives that is no asset of another kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Tensors:
    """Arrays by name.

    Attributes:
        arrays: numbers or booleans of any shape.
    """

    kind: ClassVar[str] = "tensors"

    arrays: Mapping[str, NDArray[Any]]

    def __post_init__(self) -> None:
        for name, values in self.arrays.items():
            if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
                raise ValueError(f"{name} is {getattr(values, 'dtype', type(values).__name__)}; need arrays of numbers")
