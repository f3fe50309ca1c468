"""A prediction with and without its condition, and the guided one between and beyond them. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Arrays = Mapping[str, Floats]
Network = Callable[[Arrays], Floats]
"""Inputs of a network by name -> its answer."""
Branch = Literal["condition", "none"]


def with_guidance(
    network: Network,
    predicted: Callable[[Floats, Floats], Floats],
    x: Floats,
    t: float,
    given: Arrays,
    scale: float | None,
    batched: bool,
    first: Branch = "condition",
) -> Floats:
    """The prediction u + s (c - u), of c with the condition and u without it.

    Args:
        predicted: (answer, x as it was asked) -> the prediction, like that x.
        x, t: a state [B, ...], and its time.
        given: what the network takes beside x and t, each [B, ...]; zeros in their place are no condition.
        scale: s; None leaves u out.
        batched: whether the network's batch holds both branches; without u its other half is asked the same.
        first: the branch that comes first, in a batch or as a call.

    Source: Ho and Salimans 2022, "Classifier-Free Diffusion Guidance".
    """

    def ask(*conditions: Arrays) -> list[Floats]:
        wide = np.concatenate([x] * len(conditions))
        both = {name: np.concatenate([c[name] for c in conditions]) for name in given}
        answer = network({"x": wide, "t": np.full(len(wide), t, np.float32), **both})
        return list(predicted(answer, wide).reshape(len(conditions), *x.shape))

    nothing = given if scale is None else {name: np.zeros_like(value) for name, value in given.items()}
    order = (given, nothing) if first == "condition" else (nothing, given)
    if scale is None and not batched:
        return ask(given)[0]
    answers = ask(*order) if batched else [ask(condition)[0] for condition in order]
    conditional, unconditional = answers if first == "condition" else answers[::-1]
    if scale is None:
        return conditional
    made: Floats = unconditional + np.float32(scale) * (conditional - unconditional)
    return made
