"""Shap-E's golden sets, read: which network a set is of, with its weights and inputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from gen3dexport.documents.record import told
from gen3dexport.errors import UsageError
from gen3dexport.models.component import Component
from gen3dexport.models.golden import Golden, configured, read_files, stored_weights
from gen3dexport.models.shap_e.host.model import Prior as PriorConfig
from gen3dexport.models.shap_e.host.model import Renderer as RendererConfig
from gen3dexport.models.shap_e.networks.prior import Prior
from gen3dexport.models.shap_e.networks.renderer import Layers, Query, Released
from gen3dexport.networks.checkpoints import load_strictly


class Function(nn.Module):
    """The whole renderer: latents [B, N, D], points [B, P, 3] -> distances, colours, and the made layers."""

    def __init__(self, released: Released, config: RendererConfig) -> None:
        super().__init__()
        self.layers = Layers(released)
        self.distance, self.color = Query(released, config, "distance"), Query(released, config, "color")

    def forward(self, z: Tensor, points: Tensor) -> tuple[Tensor, ...]:
        first, rest = self.layers(z)
        found = (part(first, rest, points) for part in (self.distance, self.color))
        return *found, first, *rest.unbind(1)


def read_golden(folder: Path) -> Golden:
    """Read a golden folder, weights loaded strictly.

    Raises:
        UsageError: when a file is missing or damaged or the weights do not fit the network.
    """
    config, meta, tensors = read_files(folder)
    try:
        component, subject = _component(str(meta["component"]), config, tensors, *stored_weights(folder))
    except ValidationError as error:
        raise UsageError(f"{folder / 'config.json'}: not of a network of Shap-E: {told(error)}") from error
    return Golden(component, tensors, config, subject)


def _component(
    name: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor], state: Mapping[str, Tensor], where: str
) -> tuple[Component, str]:
    if "in.z" in tensors:
        sized = configured(RendererConfig, config)
        with torch.device("meta"):
            made = Released(sized)
        load_strictly(made, state, where)
        inputs = {"z": tensors["in.z"], "points": tensors["in.points"]}
        layers = tuple(f"layer{k}" for k in range(len(sized.param_shapes)))
        module = Function(made, sized).eval().requires_grad_(False)
        return Component(name, module, inputs, ("sdf", "color", *layers)), "renderer"
    with torch.device("meta"):
        prior = Prior(configured(PriorConfig, config.get("prior", config)))
    load_strictly(prior, state, where).requires_grad_(False)
    if "in.noise" in tensors:
        times = 2 if float(config["guidance_scale"]) > 1 else 1
        noise, vector = tensors["in.noise"], tensors["in.vector"]
        inputs = {"x": noise, "t": torch.zeros(len(noise)), "cond": vector}
        inputs = {key: torch.cat([value] * times) for key, value in inputs.items()}
        return Component(name, prior, inputs, ("predicted",), stack=Prior.stack), "sampler"
    inputs = {key: tensors[f"in.{key}"].float() for key in ("x", "t", "cond")}
    return Component(name, prior, inputs, ("predicted",), stack=Prior.stack), "prior"
