"""SF3D's golden sets, read: which network a set is of, with its weights and inputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gen3dexport.errors import UsageError
from gen3dexport.models.component import Component
from gen3dexport.models.golden import Golden, configured, read_set
from gen3dexport.models.sf3d.host import parts
from gen3dexport.models.sf3d.networks.backbone import TwoStream
from gen3dexport.models.sf3d.networks.camera import CameraEmbedder
from gen3dexport.models.sf3d.networks.estimators import GlobalEstimator, MaterialHeads
from gen3dexport.models.sf3d.networks.image_encoder import ImageEncoder, ImageTokenizer
from gen3dexport.models.sf3d.networks.query import Decoder, Query
from gen3dexport.models.sf3d.networks.triplane import Upsampler, rows_of
from gen3dexport.networks.checkpoints import load_strictly

CHUNK = 256
"""Points that one call of a set's network takes."""

HOST = ("marching_tets",)
"""Sets of the host's work."""


def read_golden(folder: Path) -> Golden:
    """Read a golden folder, weights loaded strictly.

    Raises:
        UsageError: when a file is missing or damaged or the weights do not fit the network.
    """
    return read_set(folder, _component, HOST)


def _component(
    kind: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor], state: Mapping[str, Tensor], where: str
) -> Component:
    """The network of a set of that kind, with the set's inputs."""
    match kind:
        case "image_tokenizer":
            images = tensors["in.images"].flatten(0, 1).contiguous()
            camera = tensors["in.modulation_cond"].flatten(0, 1).contiguous()
            tokenizer = _read(ImageTokenizer(configured(parts.ImageTokenizer, config)), state, where)
            assert isinstance(tokenizer, ImageTokenizer)
            encoder = ImageEncoder(tokenizer, images.shape[-1]).eval().requires_grad_(False)
            return Component(kind, encoder, {"image": images, "camera": camera}, ("tokens",), encoder.stack)
        case "camera_tokenizer":
            camera_config = configured(parts.CameraEmbedder, config["camera"])
            embedder = _read(CameraEmbedder(camera_config.in_channels, camera_config.out_channels), state, where)
            inputs = {"pose": tensors["in.c2w"], "intrinsics": tensors["in.intrinsic_normed"]}
            return Component(kind, embedder, inputs, ("embedding",))
        case "backbone":
            streams = _read(TwoStream(configured(parts.Backbone, config)), state, where)
            inputs = {"tokens": tensors["in.hidden_states"], "image": tensors["in.encoder_hidden_states"]}
            return Component(kind, streams, inputs, ("hidden_states",), TwoStream.stack)
        case "post_processor":
            upsampler = _read(Upsampler(configured(parts.PostProcessor, config)), state, where)
            return Component(kind, upsampler, {"planes": tensors["in.triplanes"]}, ("triplanes",))
        case "decoder_query":
            decoder_config = configured(parts.Decoder, config["decoder"])
            decoder = _read(Decoder(decoder_config), state, where)
            assert isinstance(decoder, Decoder)
            planes, names = tensors["in.triplanes"], tuple(head.name for head in decoder_config.heads)
            query = Query(decoder, names, config["radius"], planes.shape[-1]).eval().requires_grad_(False)
            inputs = {"planes": rows_of(planes[:1]).contiguous(), "points": torch.zeros(1, CHUNK, 3)}
            return Component(kind, query, inputs, names)
        case "global_estimator":
            estimator_config = configured(parts.GlobalEstimator, config)
            estimator = _read(GlobalEstimator(estimator_config), state, where)
            outputs = tuple(head.name for head in estimator_config.heads)
            return Component(kind, estimator, {"planes": tensors["in.triplane"]}, outputs)
        case "material_heads":
            heads = _read(MaterialHeads(configured(parts.ImageEstimator, config)), state, where)
            return Component(kind, heads, {"vector": tensors["in.features"]}, ("beta",))
        case _:
            known = "image_tokenizer, camera_tokenizer, backbone, post_processor, decoder_query, global_estimator"
            raise UsageError(
                f"{where}: a set of {kind!r} is not known; there are {known}, material_heads, {', '.join(HOST)}"
            )


def _read(module: nn.Module, state: Mapping[str, Tensor], where: str) -> nn.Module:
    return load_strictly(module, state, where).requires_grad_(False)
