"""Point-E's golden sets, read: which network a set is of, with its weights and inputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gen3dexport.errors import UsageError
from gen3dexport.models.component import Component
from gen3dexport.models.golden import Golden, read_files, stored_weights
from gen3dexport.models.point_e.host.diffusion import guided
from gen3dexport.models.point_e.host.model import Denoising, Sdf, parse_network
from gen3dexport.models.point_e.networks.denoiser import Denoiser
from gen3dexport.models.point_e.networks.layouts import read_released
from gen3dexport.models.point_e.networks.sdf import CloudEncoder, Query, SdfModel

CONDITIONS = {"in.clip_vec": "cond", "in.clip_grid": "cond", "in.low_res": "low_res"}
"""A set's name of what a network takes beside x and t -> the network's."""


class Field(nn.Module):
    """The whole network: clouds [B, N, 3], points [B, P, 3] -> the field [B, P, 1]."""

    def __init__(self, released: SdfModel) -> None:
        super().__init__()
        self.encoder, self.query = CloudEncoder(released), Query(released)

    def forward(self, cloud: Tensor, points: Tensor) -> Tensor:
        return self.query(self.encoder(cloud), points)  # type: ignore[no-any-return]


def read_golden(folder: Path) -> Golden:
    """Read a golden folder, weights loaded strictly.

    Raises:
        UsageError: when a file is missing or damaged or the weights do not fit the network.
    """
    config, meta, tensors = read_files(folder)
    network = parse_network(config.get("model", config), str(folder / "config.json"), whole=False)
    module = read_released(network, *stored_weights(folder))
    subject = "sampler" if "in.noise" in tensors else "sdf" if isinstance(network, Sdf) else "denoiser"
    kind = str(meta["component"])
    if isinstance(module, SdfModel):
        inputs = {name: tensors[f"in.{key}"].transpose(1, 2).contiguous() for name, key in _SDF.items()}
        return Golden(Component(kind, Field(module).eval(), inputs, ("sdf",)), tensors, config, subject)
    assert isinstance(network, Denoising) and isinstance(module, Denoiser)
    inputs = _sampler_inputs(config, tensors) if subject == "sampler" else _inputs(tensors, tensors["in.x"])
    if missing := wanted(network) - {*inputs}:
        raise UsageError(f"{folder}: has no input of a {network.name} for {', '.join(sorted(missing))}")
    return Golden(Component(kind, module, inputs, ("eps_var",), stack=Denoiser.stack), tensors, config, subject)


_SDF = {"cloud": "point_cloud", "points": "queries"}


def wanted(network: Denoising) -> set[str]:
    """What a network takes beside x and t."""
    return {"none": set[str](), "vector": {"cond"}, "grid": {"cond"}, "upsampler": {"cond", "low_res"}}[network.kind]


def conditions(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a set's network takes beside x and t, by its names."""
    return {own: tensors[name] for name, own in CONDITIONS.items() if name in tensors}


def _inputs(tensors: Mapping[str, Tensor], x: Tensor) -> dict[str, Tensor]:
    return {"x": x, "t": tensors["in.t"].float(), **conditions(tensors)}


def _sampler_inputs(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Inputs of a call: both branches in a batch where the set is guided."""
    times = 2 if guided(float(config["guidance_scale"])) else 1
    x = tensors["in.noise"][0]
    inputs = {"x": x, "t": torch.zeros(len(x)), **conditions(tensors)}
    return {name: torch.cat([value] * times) for name, value in inputs.items()}
