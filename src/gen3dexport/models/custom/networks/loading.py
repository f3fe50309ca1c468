"""A part of a factory's pipeline as a component."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from gen3dexport.errors import UsageError
from gen3dexport.models.component import Component
from gen3dexport.models.custom.host.declared import Part
from gen3dexport.models.custom.host.settings import PartSettings, Settings
from gen3dexport.models.custom.networks import adapting
from gen3dexport.models.custom.networks.factory import make
from gen3dexport.models.declaration import Reading, Weights
from gen3dexport.networks.checkpoints import load_strictly, read_weights


def load_component(
    settings: Settings, part: PartSettings, folder: Path, weights: Weights, reading: Reading
) -> Component:
    """The part with stored weights (of its file, or the factory's own values), with those that the factory begins with,
    or as shapes.

    Raises:
        UsageError: when a file is missing, damaged or does not fit, or the factory does not give the part again.
    """
    made = make(settings.factory, settings.arguments)
    parts = made.parts
    assert not isinstance(parts, Part)
    found = next((one for one in parts if one.name == part.name), None)
    if found is None:
        raise UsageError(f"factory {settings.factory}: part {part.name} is missing when it is called again")
    module = found.module
    outputs = dict(zip(part.outputs, part.returns, strict=True))
    if weights == "shapes":
        inputs = {name: _empty(settings, name) for name in part.inputs}
        return Component(part.name, _to_meta(adapting.adapted(module, part.inputs, outputs)), inputs, part.outputs)
    if weights == "stored" and not settings.own_weights:
        path = folder / f"{part.name}.safetensors"
        state = read_weights(path, reading.allow_pickle, reading.strip_prefix)
        module = load_strictly(module, with_shared(module, state), str(path)).requires_grad_(False)
    return Component(part.name, adapting.adapted(module, part.inputs, outputs), {}, part.outputs)


def with_shared(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` with every tensor that the module has under several names, of which a file keeps one."""
    own = module.state_dict(keep_vars=True)
    groups: dict[int, list[str]] = {}
    for name, value in own.items():
        groups.setdefault(id(value), []).append(name)
    found = dict(state)
    for names in groups.values():
        stored = next((name for name in names if name in state), None)
        found |= {name: state[stored] for name in names if stored is not None and name not in state}
    return found


def _to_meta(module: nn.Module) -> nn.Module:
    """The module without values, tensors that it keeps beside parameters and buffers, too."""
    for one in module.modules():
        for name, value in vars(one).items():
            if isinstance(value, Tensor):
                setattr(one, name, value.to("meta"))
    return module.to("meta")


def _empty(settings: Settings, name: str) -> Tensor:
    spec = {**settings.takes, **settings.gives}[name]
    return torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype), device="meta")
