"""A sampler's trajectory: its latents, read from the calls of its network. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gen3dexport.arrays import on_host


def trajectory(calls: Sequence[Mapping[str, Any]], state: str, time: str, final: Any) -> np.ndarray:
    """The latent before each step of a sampler and after the last one, [steps + 1, ...].

    Args:
        calls: inputs of every call; a guided step calls twice at one time, or once with the latent twice in a batch.
        state, time: names of the latent and of the time among them.
        final: the latent after the last step.
    """
    latents: list[np.ndarray] = []
    last, before = on_host(final), None
    for inputs in calls:
        now = float(on_host(inputs[time]).ravel()[0])
        if now != before:
            latents.append(on_host(inputs[state])[: len(last)])
        before = now
    return np.stack([*latents, last])
