"""From a released file, which has every network, to the components, strictly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from gen3dexport.models.component import Component, Euler
from gen3dexport.models.declaration import Reading, Weights
from gen3dexport.models.hunyuan3d_2.host.model import Model
from gen3dexport.models.hunyuan3d_2.host.settings import Settings
from gen3dexport.models.hunyuan3d_2.networks.transformer import Flow
from gen3dexport.models.hunyuan3d_2.networks.vae import Decoder, LatentDecoder, Query, unpack
from gen3dexport.models.vector_set import OUTPUTS
from gen3dexport.networks.checkpoints import check_fit, load_strictly, read_weights
from gen3dexport.networks.dinov2 import Dinov2, Dinov2Tokens
from gen3dexport.networks.dinov2_names import apart, as_published, joined, transformers_names

PREFIXES: Mapping[str, str] = {
    "image_encoder": "conditioner.main_image_encoder.model.",
    "flow": "model.",
    "latent_decoder": "vae.",
    "query": "vae.",
}
"""What the names of a component's tensors begin with in the released file."""


def released(name: str, model: Model) -> nn.Module:
    """What the file holds for a component, with random weights, under its names without their prefix (DINOv2's under
    those of `Dinov2`)."""
    match name:
        case "image_encoder":
            c = model.image_encoder
            edge = c.image_size // c.patch_size
            sizes = (c.hidden_size, c.num_hidden_layers, c.num_attention_heads, edge, c.patch_size)
            return Dinov2(*sizes, gated=c.use_swiglu_ffn)
        case "flow":
            return Flow(model.transformer)
        case _:
            return Decoder(model.vae)


def built(name: str, module: nn.Module, settings: Settings) -> nn.Module:
    """The network of a component, of what the file holds for it."""
    model = settings.model
    unpack(module)
    match name:
        case "image_encoder":
            assert isinstance(module, Dinov2)
            edge = model.image_encoder.image_size // model.image_encoder.patch_size
            made: nn.Module = Dinov2Tokens(module, (edge, edge), "size")
        case "latent_decoder":
            assert isinstance(module, Decoder)
            made = LatentDecoder(module, model.vae.scale_factor)
        case "query":
            assert isinstance(module, Decoder)
            made = Query(module, model.vae)
        case _:
            assert isinstance(module, Flow)
            module.tabulate_time(settings.times, settings.guidance)
            made = module
    return made.eval().requires_grad_(False)


def load_component(name: str, settings: Settings, stem: Path, weights: Weights, reading: Reading) -> Component:
    """One component with the weights of `stem`.safetensors, with seeded random ones, or as shapes.

    Raises:
        UsageError: when the file is missing, damaged or does not fit.
    """
    if weights == "stored":
        path = stem.with_name(f"{stem.name}.safetensors")
        state = as_published(read_weights(path, reading.allow_pickle, reading.strip_prefix))
        with torch.device("meta"):  # the whole file, before the first of its networks is worked on
            check_fit(file_tensors(settings.model), state, str(path))
            module = released(name, settings.model)
        own = {k.removeprefix(PREFIXES[name]): v for k, v in state.items() if k.startswith(PREFIXES[name])}
        if isinstance(module, Dinov2):
            own = {k: joined(own, transformers_names(k)) for k in module.state_dict()}
        return _component(name, built(name, load_strictly(module, own, str(path)), settings), settings)
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return _component(name, built(name, released(name, settings.model), settings), settings)
    with torch.device("meta"):
        made = _component(name, built(name, released(name, settings.model), settings), settings)
        return made.with_inputs(example_inputs(name, settings))


def file_tensors(model: Model) -> dict[str, Tensor]:
    """The tensors of the whole file, by their released names."""
    found: dict[str, Tensor] = {}
    for name in ("image_encoder", "flow", "query"):
        module = released(name, model)
        for key, value in module.state_dict().items():
            own = apart(value, transformers_names(key)) if isinstance(module, Dinov2) else {key: value}
            found |= {PREFIXES[name] + k: v for k, v in own.items()}
    return found


def example_inputs(name: str, settings: Settings) -> dict[str, Tensor]:
    """Inputs of a component, all zero."""
    model, vae = settings.model, settings.model.vae
    latent, size = (1, vae.num_latents, vae.embed_dim), model.image_encoder.image_size
    heads = vae.heads // vae.geo_decoder_downsample_ratio
    shapes: Mapping[str, Mapping[str, tuple[int, ...]]] = {
        "image_encoder": {"image": (1, 3, size, size)},
        "flow": {"x": latent, "t": (1,), "cond": (1, model.image_tokens, model.transformer.context_in_dim)},
        "latent_decoder": {"z": latent},
        "query": {
            "context": (1, 2, heads, vae.num_latents, vae.point_width // heads),
            "points": (1, settings.chunk, 3),
        },
    }
    return {key: torch.zeros(shape) for key, shape in shapes[name].items()}


def _component(name: str, network: nn.Module, settings: Settings) -> Component:
    schedule, loop = settings.schedule, None
    if name == "flow":
        loop = Euler(settings.times, schedule.moves, schedule.weights)
    return Component(name, network, {}, (OUTPUTS[name],), stack=getattr(network, "stack", None), loop=loop)
