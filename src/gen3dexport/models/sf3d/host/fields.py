"""What the numbers of SF3D's heads mean, and how a material comes out of beta distributions. No torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gen3dexport.models.sf3d.host.parts import Head

Floats = NDArray[np.float32]

_LARGEST = np.float32(80.0)  # exponent from which an exponential would overflow float32
_SHORTEST = np.float32(1e-7)  # length that a direction is divided by at least


def activated(raw: Floats, head: Head) -> Floats:
    """A head's numbers [N, C] after its bias and its activation."""
    biased = raw + np.float32(head.out_bias)
    match head.output_activation:
        case "exp" | "trunc_exp":
            made = np.exp(np.minimum(biased, _LARGEST))
        case "sigmoid":
            half = np.float32(0.5)
            made = half + half * np.tanh(half * biased)  # which overflows nowhere
        case "normalize_channel_last":
            made = biased / np.maximum(np.linalg.norm(biased, axis=-1, keepdims=True), _SHORTEST)
        case "softplus":
            made = np.logaddexp(biased, np.float32(0))
        case _:
            made = biased
    found: Floats = made.astype(np.float32)
    return found


def beta_mode(alpha: NDArray[np.floating], beta: NDArray[np.floating]) -> Floats:
    """The mode of beta distributions: (alpha - 1)+ over (alpha - 1)+ + (beta - 1)+, where (.)+ cuts at 0.

    As the release resolves what has no mode inside: 1 where both parameters are below 1, NaN where both are 1.
    """
    a, b = (np.maximum(np.asarray(value, np.float32) - 1, 0) for value in (alpha, beta))
    total = a + b
    mode = np.divide(a, total, out=np.ones_like(a), where=total > 0)
    flat = (np.asarray(alpha) == 1) & (np.asarray(beta) == 1)
    return np.where(flat, np.float32(np.nan), mode).astype(np.float32)
