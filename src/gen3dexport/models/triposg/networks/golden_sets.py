"""TripoSG's golden sets, read: which network a set is of, with its weights and inputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gen3dexport.errors import UsageError
from gen3dexport.models.component import Component
from gen3dexport.models.golden import Golden, configured, read_set
from gen3dexport.models.triposg.host.model import Transformer, Vae
from gen3dexport.models.triposg.networks.layers import unpack
from gen3dexport.models.triposg.networks.transformer import Flow
from gen3dexport.models.triposg.networks.vae import Autoencoder, Encoder, LatentDecoder, Query
from gen3dexport.networks.checkpoints import load_strictly

CHUNK = 256
"""Points that one call of a set's network takes, at most."""


class Decoded(nn.Module):
    """The whole decoder: latents [B, N, C], points [B, P, 3] -> logits [B, P, 1]."""

    def __init__(self, decoder: LatentDecoder, query: Query) -> None:
        super().__init__()
        self.decoder, self.query = decoder, query

    def forward(self, z: Tensor, points: Tensor) -> Tensor:
        return self.query(self.decoder(z), points)  # type: ignore[no-any-return]


def read_golden(folder: Path) -> Golden:
    """Read a golden folder, weights loaded strictly.

    Raises:
        UsageError: when a file is missing or damaged or the weights do not fit the network.
    """
    return read_set(folder, _component)


def _component(
    kind: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor], state: Mapping[str, Tensor], where: str
) -> Component:
    """The network of a set of that kind, with the set's inputs."""
    match kind:
        case "dit":
            inputs = {"x": tensors["in.hidden_states"], "t": tensors["in.timestep"].flatten().float()}
            inputs["t"] = inputs["t"].expand(len(inputs["x"])).contiguous()
            flow = _read(Flow(configured(Transformer, config)), state, where)
            return Component(kind, flow, {**inputs, "cond": tensors["in.encoder_hidden_states"]}, ("sample",))
        case "sampler":
            noise = tensors["in.noise"]
            inputs = {"x": noise, "t": torch.full((len(noise),), 1000.0), "cond": tensors["in.cond"]}
            return Component(kind, _read(Flow(configured(Transformer, config["dit"])), state, where), inputs, ("v",))
        case "vae":
            vae = configured(Vae, config)
            released = _read(Autoencoder(vae), state, where)
            assert isinstance(released, Autoencoder)
            whole = Decoded(LatentDecoder(released), Query(released, vae))
            points = tensors["in.queries"][:, :CHUNK].contiguous()
            return Component(kind, whole.eval(), {"z": tensors["in.z"], "points": points}, ("logits",))
        case "vae_encoder":
            sizes = (config["in_dim"], config["dim"], config["num_attention_heads"], config["num_layers"])
            inputs = {"few": tensors["in.x_q"], "many": tensors["in.x_kv"]}
            return Component(kind, _read(Encoder(*sizes), state, where), inputs, ("hidden",))
        case _:
            raise UsageError(f"{where}: a set of {kind!r} is not known; there are dit, sampler, vae, vae_encoder")


def _read(module: nn.Module, state: Mapping[str, Tensor], where: str) -> nn.Module:
    """A module with a set's weights, the rows of its attentions in order."""
    load_strictly(module, state, where).requires_grad_(False)
    unpack(module)
    return module
