"""LGM's golden sets, read: the network with its inputs, cameras, or rows of Gaussians."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from gen3dexport.errors import UsageError
from gen3dexport.models.component import Component
from gen3dexport.models.configuration import fields_of
from gen3dexport.models.golden import Golden, read_files, stored_steps, stored_weights
from gen3dexport.models.lgm.host.model import Model, parse_model
from gen3dexport.models.lgm.host.settings import INPUT, OUTPUT
from gen3dexport.models.lgm.networks.loading import read_released
from gen3dexport.models.lgm.networks.network import Lgm


class Steps(nn.Module):
    """The network's steps by name, and its rows."""

    def __init__(self, network: Lgm, wanted: tuple[str, ...]) -> None:
        super().__init__()
        self.network, self.wanted = network, wanted

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        found: dict[str, Tensor] = {}
        found[OUTPUT] = self.network.steps(images, found.__setitem__)
        return tuple(found[name] for name in self.wanted)


def read_golden(folder: Path) -> Golden:
    """Read a golden folder, weights loaded strictly.

    Raises:
        UsageError: when a file is missing or damaged or the weights do not fit the network.
    """
    config, meta, tensors = read_files(folder)
    kind = str(meta["component"])
    if f"in.{INPUT}" in tensors:
        model = parse_model(fields_of(Model, config), str(folder / "config.json"))
        network = read_released(model, *stored_weights(folder))
        return Golden(_component(kind, network, tensors), tensors, config, kind)
    if "in.azimuths" in tensors or "in.gaussians" in tensors:
        return Golden(None, tensors, config, kind)
    raise UsageError(
        f"{folder}: a set of {kind!r} is not known; there are networks (in.images), cameras (in.azimuths) and "
        "Gaussians (in.gaussians)"
    )


def _component(kind: str, network: Lgm, tensors: Mapping[str, Tensor]) -> Component:
    """The network with those of its steps that the set has."""
    images, known = tensors[f"in.{INPUT}"], {OUTPUT}
    with torch.no_grad():
        network.steps(images, lambda name, value: known.add(name))
    wanted = stored_steps(tensors, known) or (OUTPUT,)
    return Component(kind, Steps(network, wanted).eval(), {INPUT: images}, wanted)
