"""From the published ONNX file, or a golden set's tensors, to the component, strictly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from gen3dexport.models.component import Component
from gen3dexport.models.declaration import Weights
from gen3dexport.models.terrain_consistency.host.model import Model, released_shapes
from gen3dexport.models.terrain_consistency.host.released import FILE, read_released
from gen3dexport.models.terrain_consistency.host.settings import Settings
from gen3dexport.models.terrain_consistency.networks.unet import Terrain, from_released
from gen3dexport.networks.checkpoints import check_fit, refuse_not_finite


def load_component(settings: Settings, folder: Path, weights: Weights) -> Component:
    """The component with the weights of `folder`, with seeded random ones, or as shapes.

    Raises:
        UsageError: when the file is missing, damaged or does not fit.
    """
    model = settings.model
    if weights == "stored":
        state = {name: torch.from_numpy(value) for name, value in read_released(folder).tensors.items()}
        return component_of(model, state, str(folder / FILE))
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return _component(Terrain(model))
    with torch.device("meta"):
        return _component(Terrain(model)).with_inputs(example_inputs(model))


def component_of(model: Model, state: Mapping[str, Tensor], where: str) -> Component:
    """The component with released tensors: exactly those of such a network.

    Args:
        where: the file, for errors.

    Raises:
        UsageError: with the tensors that are missing, unexpected, misshapen or not finite.
    """
    refuse_not_finite(state, where)
    wanted = {name: torch.empty(shape, device="meta") for name, shape in released_shapes(model).items()}
    check_fit(wanted, state, where)
    network = Terrain(model)
    network.load_state_dict(from_released(model, state), strict=True, assign=True)
    return _component(network)


def example_inputs(model: Model) -> dict[str, Tensor]:
    """Inputs of the component, all zero."""
    shapes = {"noisy": (1, model.size, model.size), "waves": (2 * model.frequencies,), "label": (1,), "scalings": (3,)}
    return {name: torch.zeros(1, *shape) for name, shape in shapes.items()}


def _component(network: Terrain) -> Component:
    return Component("unet", network.eval().requires_grad_(False), {}, ("denoised",))
