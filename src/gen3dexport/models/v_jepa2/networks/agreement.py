"""What V-JEPA 2's golden sets say: features of a film, and what is predicted of patches that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from gen3dexport.models.golden import Golden
from gen3dexport.models.v_jepa2.networks.golden_sets import (
    ASKED,
    FEATURES,
    KNOWN,
    MASKED,
    PREDICTED,
    TARGET,
    read_golden,
    stored_as,
)
from gen3dexport.models.v_jepa2.networks.network import gathered

read = read_golden

NOISE: Mapping[str, float] = {}
"""Every reference is exact to float32's rounding."""

Arrays = dict[str, np.ndarray]
Run = Callable[[Mapping[str, np.ndarray]], Arrays]


def outputs(golden: Golden, run: Run) -> tuple[Arrays, Arrays]:
    """Outputs of a golden set by the names that it has, found and expected.

    Args:
        golden: the set, read.
        run: inputs by name -> outputs by name of its networks.
    """
    assert golden.component is not None
    made = run({name: tensor.numpy() for name, tensor in golden.component.inputs.items()})
    features = torch.from_numpy(np.ascontiguousarray(made[FEATURES]))
    for name, patches in ((TARGET, ASKED), (MASKED, KNOWN)):
        ids = golden.tensors.get(f"in.{patches}")
        made[name] = made[FEATURES] if ids is None else gathered(features, ids).numpy()
    names = {
        name: found for name in (FEATURES, PREDICTED, TARGET, MASKED) if (found := stored_as(golden.tensors, name))
    }
    return golden.compared({names[name]: value for name, value in made.items() if name in names})
