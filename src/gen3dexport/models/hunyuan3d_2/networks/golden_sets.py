"""Hunyuan3D-2's golden sets, read: which network a set is of, with its weights and inputs."""

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
from gen3dexport.models.hunyuan3d_2.host.model import Transformer, Vae
from gen3dexport.models.hunyuan3d_2.networks.selection import SelectedAttention, kept
from gen3dexport.models.hunyuan3d_2.networks.transformer import Flow
from gen3dexport.models.hunyuan3d_2.networks.vae import Decoder, LatentDecoder, Query, unpack
from gen3dexport.networks.checkpoints import load_strictly

CHUNK = 256
"""Points that one call of a set's network takes, at most."""


class Decoded(nn.Module):
    """The whole decoder: latents [B, N, C], points [B, P, 3] -> the last rows [B, N, W], logits [B, P, 1]."""

    def __init__(self, decoder: LatentDecoder, query: Query) -> None:
        super().__init__()
        self.decoder, self.query = decoder, query

    def forward(self, z: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        rows = self.decoder.latent_set(z)
        return rows, self.query(self.decoder.after(rows), points)


def read_golden(folder: Path) -> Golden:
    """Read a golden folder, weights loaded strictly.

    Raises:
        UsageError: when a file is missing or damaged or the weights do not fit the network.
    """
    config, meta, tensors = read_files(folder)
    kind = meta["component"]
    if "field" in config:
        return Golden(None, tensors, config, kind)
    if "cell_counts" in config:
        return Golden(_selection(config, tensors), tensors, config, kind)
    if config.get("name") not in ("Hunyuan3DDiT", "ShapeVAE"):
        raise UsageError(
            f"{folder}: a set of {kind!r} is not read; there are those of Hunyuan3DDiT and of ShapeVAE, of a field "
            "(`field`) and of selected latents (`cell_counts`)"
        )
    state, where = stored_weights(folder)
    try:
        component = _component(config, tensors, state, where)
    except ValidationError as error:
        raise UsageError(f"{folder}: not a golden folder of {kind}: {told(error)}") from error
    return Golden(component, tensors, config, "sampler" if "scheduler" in config else kind)


def _selection(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Component:
    """Attention over selected latents, with the set's queries, keys and values."""
    inputs = {name: tensors[f"in.{name}"] for name in ("q", "k", "v")}
    module = SelectedAttention(
        config.get("topk", kept(inputs["k"].shape[2])),
        config.get("query_stride_first_level", 100),
        config.get("query_stride_cells", 50),
        config["cell_counts"],
    )
    return Component("flash_attention", module, inputs, ("first_level", "cells"))


def _component(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor], state: Mapping[str, Tensor], where: str
) -> Component:
    """The network of a set, with the set's inputs."""
    if config["name"] == "ShapeVAE":
        vae = configured(Vae, config["args"])
        released = load_strictly(Decoder(vae), state, where).requires_grad_(False)
        assert isinstance(released, Decoder)
        unpack(released)
        whole = Decoded(LatentDecoder(released, vae.scale_factor), Query(released, vae)).eval()
        inputs = {"z": tensors["in.latents"], "points": tensors["in.queries"][:, :CHUNK].contiguous()}
        return Component("vae", whole, inputs, ("latent_set", "logits"))
    transformer = configured(Transformer, config["args"])
    flow = load_strictly(Flow(transformer), state, where).requires_grad_(False)
    x = tensors["in.noise" if "scheduler" in config else "in.x"]
    inputs = {"x": x, "t": tensors.get("in.t", torch.zeros(len(x))), "cond": tensors["in.cond"]}
    if transformer.guidance_embed:
        default = torch.full((len(x),), float(config.get("guidance_scale", 0)))
        inputs["guidance"] = tensors.get("in.guidance", default)
    return Component("dit", flow, inputs, ("v",))
