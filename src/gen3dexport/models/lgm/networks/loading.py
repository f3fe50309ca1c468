"""From a released file to the network, strictly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from gen3dexport.models.component import Component
from gen3dexport.models.declaration import Reading, Weights
from gen3dexport.models.lgm.host.model import CHANNELS, Model
from gen3dexport.models.lgm.host.settings import INPUT, OUTPUT
from gen3dexport.models.lgm.networks.layouts import check_variant
from gen3dexport.models.lgm.networks.network import Lgm
from gen3dexport.models.one_network import Making, load_network


def read_released(model: Model, state: Mapping[str, Tensor], where: str) -> Lgm:
    """The network with the tensors of a file.

    Raises:
        UsageError: see `layouts.check_variant`.
    """
    with torch.device("meta"):
        made = Lgm(model)
    check_variant(state, made.state_dict(), where)
    made.load_state_dict(state, strict=True, assign=True)
    return made.eval().requires_grad_(False)


def load_component(name: str, model: Model, stem: Path, weights: Weights, reading: Reading) -> Component:
    """The network with the weights of `stem`.safetensors, with seeded random ones, or as shapes.

    Raises:
        UsageError: when the file is missing, damaged or does not fit.
    """
    pictures = max(1, model.num_frames) * model.num_input_views
    making = Making(
        released=lambda: Lgm(model),
        read=lambda state, where: read_released(model, state, where),
        built=lambda made: made.eval().requires_grad_(False),
        outputs=(OUTPUT,),
        inputs={INPUT: (1, pictures, CHANNELS, model.input_size, model.input_size)},
    )
    return load_network(name, making, stem, weights, reading)
