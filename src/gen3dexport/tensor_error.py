"""How far a program's tensors are from their reference.

Values may be infinite where the mathematics says so; `as_dict` writes those as the strings "inf", "-inf" and "nan",
which JSON has no numbers for and `float` reads back.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class TensorError:
    """The error of a tensor against a reference of the same shape; not symmetric, except `max_abs` and `cosine`.

    Attributes:
        max_abs: max |value - reference|, in the tensor's unit.
        relative_l2: ||value - reference||_2 / ||reference||_2, without unit; 0 when both are zero, inf when only the
            reference is.
        cosine: <value, reference> / (||value|| ||reference||), from -1 to 1; 1 when both are zero, 0 when one is.
        psnr_db: 20 log10(max |reference| / rms(value - reference)), in dB; inf when equal, -inf when only the
            reference is zero.

    When an element of either is NaN or infinite, the fields are inf, inf, nan and -inf: no budget passes.
    """

    max_abs: float
    relative_l2: float
    cosine: float
    psnr_db: float

    def as_dict(self) -> dict[str, float | str]:
        """The fields as JSON takes them."""
        return {k: json_number(v) for k, v in asdict(self).items()}


def tensor_error(value: ArrayLike, reference: ArrayLike) -> TensorError:
    """The error of `value` against `reference` (same shape, any real dtype), in float64.

    Raises:
        ValueError: when the shapes differ or there is no element.
    """
    a, b = np.asarray(value, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {list(a.shape)} against the reference's {list(b.shape)}")
    if a.size == 0:
        raise ValueError("the tensors have no elements, so there is no error to measure")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return TensorError(math.inf, math.inf, math.nan, -math.inf)
    difference = np.abs(a - b)
    norm_a, norm_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    norm = float(np.linalg.norm(difference))
    rms, peak = norm / math.sqrt(a.size), float(np.abs(b).max())
    if norm_a == 0 or norm_b == 0:
        cosine = float(norm_a == norm_b)
    else:
        cosine = float(np.clip(np.vdot(a / norm_a, b / norm_b), -1, 1))
    return TensorError(
        max_abs=float(difference.max()),
        relative_l2=norm / norm_b if norm_b else (math.inf if norm else 0.0),
        cosine=cosine,
        psnr_db=math.inf if rms == 0 else (20 * math.log10(peak / rms) if peak else -math.inf),
    )


def json_number(value: float) -> float | str:
    """A number as JSON takes it: infinities and NaN as strings."""
    return value if math.isfinite(value) else str(value)
