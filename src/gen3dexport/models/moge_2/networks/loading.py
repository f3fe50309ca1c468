"""From a released file (`model.safetensors`, or `model.pt` on demand) to the network, strictly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from gen3dexport.models.component import Component
from gen3dexport.models.declaration import Reading, Weights
from gen3dexport.models.moge_2.host.model import Model
from gen3dexport.models.moge_2.host.settings import COMPONENT, Settings
from gen3dexport.models.moge_2.networks.network import GeometryNetwork, Released
from gen3dexport.models.one_network import Making, load_network
from gen3dexport.networks.checkpoints import load_strictly
from gen3dexport.networks.dinov2 import TableRule


def read_released(model: Model, state: Mapping[str, Tensor], where: str) -> Released:
    """The released tensors of a file.

    Raises:
        UsageError: with the tensors that are missing, unexpected or misshapen, or the prefix of all names.
    """
    with torch.device("meta"):
        made = Released(model)
    load_strictly(made, state, where)
    return made


def network(released: Released, model: Model, grid: tuple[int, int], rule: TableRule = "factor") -> GeometryNetwork:
    """The network for pictures of one size, of the parts of `released`."""
    return GeometryNetwork(released, model, grid, rule).eval().requires_grad_(False)


def load_component(settings: Settings, stem: Path, weights: Weights, reading: Reading) -> Component:
    """The network with the weights of `stem`.safetensors (or .pt), with seeded random ones, or as shapes.

    Raises:
        UsageError: when the file is missing, damaged or does not fit.
    """
    model = settings.model
    making = Making(
        released=lambda: Released(model),
        read=lambda state, where: read_released(model, state, where),
        built=lambda made: network(made, model, settings.patches),
        outputs=settings.outputs,
        inputs={"image": (1, 3, *settings.size), "span": (2,)},
    )
    return load_network(COMPONENT, making, stem, weights, reading)
