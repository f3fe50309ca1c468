"""What V-JEPA 2's golden sets say: features of a film, what is predicted of patches that are asked for, and frames made
ready."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from gen3dexport.models.golden import Arrays, Golden, Run
from gen3dexport.models.image_preparation import normalised
from gen3dexport.models.v_jepa2.host.clip import cut
from gen3dexport.models.v_jepa2.networks.golden_sets import (
    ASKED,
    FEATURES,
    FRAMES,
    KNOWN,
    MASKED,
    PIXELS,
    PREDICTED,
    TARGET,
    read_golden,
    stored_as,
)
from gen3dexport.models.v_jepa2.networks.network import gathered

read = read_golden

NOISE: Mapping[str, float] = {PIXELS: 0.01}
"""Outputs whose reference is not exact, and by how much: the library's resizing and Pillow's round bytes otherwise, by
one level of 255 at most."""


def outputs(golden: Golden, run: Run) -> tuple[Arrays, Arrays]:
    """Outputs of a golden set by the names that it has, found and expected."""
    if golden.component is None:
        edge = int(golden.extra["crop_size"])
        frames = golden.tensors[f"in.{FRAMES}"].numpy()
        return golden.compared({PIXELS: np.concatenate([normalised(cut(frame, edge)) for frame in frames])})
    made = run(golden.inputs())
    features = torch.from_numpy(np.ascontiguousarray(made[FEATURES]))
    for name, patches in ((TARGET, ASKED), (MASKED, KNOWN)):
        ids = golden.tensors.get(f"in.{patches}")
        made[name] = made[FEATURES] if ids is None else gathered(features, ids).numpy()
    names = {
        name: found for name in (FEATURES, PREDICTED, TARGET, MASKED) if (found := stored_as(golden.tensors, name))
    }
    return golden.compared({names[name]: value for name, value in made.items() if name in names})
