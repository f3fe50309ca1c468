"""From a published file to the network, strictly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from gen3dexport.models.component import Component
from gen3dexport.models.declaration import Reading, Weights
from gen3dexport.models.depth_anything_v2.host.model import Model
from gen3dexport.models.depth_anything_v2.host.settings import COMPONENT, INPUT, OUTPUT, Rules, Settings
from gen3dexport.models.depth_anything_v2.networks.layouts import original
from gen3dexport.models.depth_anything_v2.networks.network import DepthNetwork, Released
from gen3dexport.models.one_network import Making, load_network
from gen3dexport.networks.dinov2 import TableRule
from gen3dexport.networks.dpt import Upsampling

TABLE: Mapping[Rules, TableRule] = {"original": "factor", "hf": "size"}
"""How whose rules resample the position table."""


def read_released(model: Model, state: Mapping[str, Tensor], where: str) -> Released:
    """The released tensors of a file in either layout.

    Raises:
        UsageError: see `layouts.original`.
    """
    with torch.device("meta"):
        made = Released(model)
    made.load_state_dict(original(state, made.state_dict(), where), strict=True, assign=True)
    return made


def network(
    released: Released, model: Model, size: tuple[int, int], rules: Rules, upsampling: Upsampling = "resize"
) -> DepthNetwork:
    """The network for pictures of one size, of the parts of `released`."""
    return DepthNetwork(released, model, size, TABLE[rules], upsampling).eval().requires_grad_(False)


def load_component(settings: Settings, stem: Path, weights: Weights, reading: Reading) -> Component:
    """The network with the weights of `stem`.safetensors (or .pth), with seeded random ones, or as shapes.

    Raises:
        UsageError: when the file is missing, damaged or does not fit.
    """
    model = settings.model

    def released() -> Released:
        made = Released(model)
        # Its inputs are not negative: so the map is not, and the ReLU after it does not make nothing of it.
        for parameter in made.depth_head.scratch.get_submodule("output_conv2.2").parameters():
            parameter.data.abs_()
        return made

    making = Making(
        released=released,
        read=lambda state, where: read_released(model, state, where),
        built=lambda made: network(made, model, settings.size, settings.rules, settings.upsampling),
        outputs=(OUTPUT,),
        inputs={INPUT: (1, 3, *settings.size)},
    )
    return load_network(COMPONENT, making, stem, weights, reading)
