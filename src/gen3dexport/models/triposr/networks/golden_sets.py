"""TripoSR's golden sets, read: which network a set is of, with its weights and inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gen3dexport.errors import UsageError
from gen3dexport.models.component import Component
from gen3dexport.models.golden import Golden, configured, read_set, stored_weights
from gen3dexport.models.triposr.host.model import Backbone, Decoder, Model, PostProcessor, Renderer, Tokenizer, Vit
from gen3dexport.models.triposr.host.picture import resized
from gen3dexport.models.triposr.host.settings import PositionTable
from gen3dexport.models.triposr.networks.loading import PARTS, assembled, read_parts, released_name
from gen3dexport.models.triposr.networks.query import FieldDecoder, Query
from gen3dexport.models.triposr.networks.transformer import Transformer
from gen3dexport.models.triposr.networks.triplane import TriplaneTokenizer, Upsampler, windows
from gen3dexport.models.triposr.networks.vit import ImageEncoder, ImageTokenizer
from gen3dexport.networks.checkpoints import load_strictly

CHUNK = 256
"""Points that one call of a set's network takes."""


class Whole(nn.Module):
    """All of the networks as one: picture [1, 3, S, S], points [1, N, 3] -> windows, raw density, raw colour."""

    def __init__(self, image_encoder: nn.Module, backbone: nn.Module, query: nn.Module) -> None:
        super().__init__()
        self.image_encoder, self.backbone, self.query = image_encoder, backbone, query

    def forward(self, image: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        features = self.image_encoder(image)
        planes = self.backbone(features)
        density, color = self.query(planes, points)
        return features, planes, density, color


def read_golden(folder: Path) -> Golden:
    """Read a golden folder, weights loaded strictly; they are kept, as released, with the set's configuration.

    Raises:
        UsageError: when a file is missing or damaged or the weights do not fit the network.
    """
    golden = read_set(folder, _component)
    return replace(golden, extra={**golden.extra, "weights": stored_weights(folder)[0]})


def _component(
    kind: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor], state: Mapping[str, Tensor], where: str
) -> Component:
    """The network of a set of that kind, with the set's inputs."""
    match kind:
        case "image_tokenizer":
            images = tensors["in.images"].flatten(0, 1)
            encoder = image_encoder(config, state, images.shape[-1], "factor", where)
            return Component(kind, encoder, {"image": images}, ("features",), encoder.stack)
        case "tokenizer":
            tokenizer = load_strictly(TriplaneTokenizer(configured(Tokenizer, config)), state, where)
            return Component(kind, tokenizer, {"tokens": tensors["in.tokens"]}, ("tokens", "planes"))
        case "backbone":
            transformer = load_strictly(Transformer(configured(Backbone, config)), state, where)
            inputs = {"tokens": tensors["in.hidden_states"], "context": tensors["in.encoder_hidden_states"]}
            return Component(kind, transformer, inputs, ("hidden_states",), Transformer.stack)
        case "post_processor":
            upsampler = load_strictly(Upsampler(configured(PostProcessor, config)), state, where)
            return Component(kind, upsampler, {"planes": tensors["in.triplanes"]}, ("triplanes",))
        case "decoder_renderer":
            decoder = load_strictly(FieldDecoder(configured(Decoder, config["decoder"])), state, where)
            assert isinstance(decoder, FieldDecoder)
            planes, renderer = tensors["in.triplane"], configured(Renderer, config["renderer"])
            query = Query(decoder, renderer.radius, planes.shape[-1]).eval().requires_grad_(False)
            inputs = {"planes": windows(planes[None]), "points": torch.zeros(1, CHUNK, 3)}
            return Component(kind, query, inputs, ("density", "features"))
        case "e2e":
            model = configured(Model, config)
            made = read_parts(model, None, state, where)
            whole = Whole(*(assembled(name, made, model, "factor") for name in PARTS)).eval()
            image = resized(tensors["in.image"].numpy(), model.cond_image_size)
            inputs = {"image": torch.from_numpy(image).permute(2, 0, 1)[None].contiguous()}
            inputs["points"] = torch.zeros(1, CHUNK, 3)
            return Component(kind, whole, inputs, ("tokens", "planes", "density", "features"))
        case _:
            known = "image_tokenizer, tokenizer, backbone, post_processor, decoder_renderer, e2e"
            raise UsageError(f"{where}: a set of {kind!r} is not known; there are {known}")


def image_encoder(
    config: Mapping[str, Any], state: Mapping[str, Tensor], size: int, table: PositionTable, where: str
) -> ImageEncoder:
    """The encoder of an `image_tokenizer` set for images of one size."""
    tokenizer = ImageTokenizer(configured(Vit, config))
    load_strictly(tokenizer, {released_name(name): value for name, value in state.items()}, where)
    return ImageEncoder(tokenizer, size, table).eval().requires_grad_(False)
