"""From a released file to the network, strictly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from gen3dexport.models.component import Component
from gen3dexport.models.declaration import Reading, Weights
from gen3dexport.models.depth_anything_3.host.model import Model
from gen3dexport.models.depth_anything_3.host.settings import COMPONENT, INPUT, Settings
from gen3dexport.models.depth_anything_3.networks.layouts import check_variant
from gen3dexport.models.depth_anything_3.networks.network import Form, Released, ViewNetwork
from gen3dexport.models.one_network import Making, load_network


def read_released(model: Model, state: Mapping[str, Tensor], where: str) -> Released:
    """The released tensors of a file.

    Raises:
        UsageError: see `layouts.check_variant`.
    """
    with torch.device("meta"):
        made = Released(model)
    check_variant(state, made.state_dict(), where)
    made.load_state_dict(state, strict=True, assign=True)
    return made


def network(released: Released, model: Model, form: Form) -> ViewNetwork:
    """The network for one size and number of views, of the parts of `released`."""
    return ViewNetwork(released, model, form).eval().requires_grad_(False)


def load_component(settings: Settings, stem: Path, weights: Weights, reading: Reading) -> Component:
    """The network with the weights of `stem`.safetensors, with seeded random ones, or as shapes.

    Raises:
        UsageError: when the file is missing, damaged or does not fit.
    """
    model = settings.model
    form = Form(settings.size, settings.views, settings.reference, settings.upsampling)
    making = Making(
        released=lambda: Released(model),
        read=lambda state, where: read_released(model, state, where),
        built=lambda made: network(made, model, form),
        outputs=settings.outputs,
        inputs={INPUT: (1, settings.views, 3, *settings.size)},
    )
    return load_network(COMPONENT, making, stem, weights, reading)
