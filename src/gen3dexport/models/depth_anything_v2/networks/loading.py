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
from gen3dexport.networks.checkpoints import read_weights
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
    model, given = settings.model, (settings.size, settings.rules, settings.upsampling)
    if weights == "stored":
        path = stem.with_name(f"{stem.name}.safetensors")
        state = read_weights(path, reading.allow_pickle, reading.strip_prefix)
        return _component(network(read_released(model, state, str(path)), model, *given))
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            made = Released(model)
            # Its inputs are not negative: so the map is not, and the ReLU after it does not make nothing of it.
            for parameter in made.depth_head.scratch.get_submodule("output_conv2.2").parameters():
                parameter.data.abs_()
            return _component(network(made, model, *given))
    with torch.device("meta"):
        shapes = _component(network(Released(model), model, *given))
        return shapes.with_inputs({INPUT: torch.zeros(1, 3, *settings.size)})


def _component(made: DepthNetwork) -> Component:
    return Component(COMPONENT, made, {}, (OUTPUT,))
