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
from gen3dexport.networks.checkpoints import load_strictly, read_weights
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
    model, grid = settings.model, settings.patches
    if weights == "stored":
        path = stem.with_name(f"{stem.name}.safetensors")
        state = read_weights(path, reading.allow_pickle, reading.strip_prefix)
        return _component(network(read_released(model, state, str(path)), model, grid))
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return _component(network(Released(model), model, grid))
    with torch.device("meta"):
        shapes = _component(network(Released(model), model, grid))
        return shapes.with_inputs({"image": torch.zeros(1, 3, *settings.size), "span": torch.zeros(2)})


def _component(made: GeometryNetwork) -> Component:
    return Component(COMPONENT, made, {}, made.outputs)
