"""A program's method `forward` as either of the runtimes opens it; no vendor package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Signature = Sequence[tuple[int, Sequence[int]]]


@dataclass(frozen=True, eq=False)
class Forward:
    """An opened method.

    Attributes:
        inputs, outputs: ExecuTorch's number of each tensor's dtype, and its shape.
        run: contiguous arrays in the inputs' order -> those of the outputs. It holds whatever the method lives in.
    """

    inputs: Signature
    outputs: Signature
    run: Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]
