"""From the files of a released folder to the components, strictly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from gen3dexport.models.component import Component, Euler
from gen3dexport.models.declaration import Reading, Weights
from gen3dexport.models.triposg.host.model import Model
from gen3dexport.models.triposg.host.settings import Settings
from gen3dexport.models.triposg.networks.layers import unpack
from gen3dexport.models.triposg.networks.transformer import Flow
from gen3dexport.models.triposg.networks.vae import Autoencoder, LatentDecoder, Query
from gen3dexport.models.vector_set import OUTPUTS
from gen3dexport.networks.checkpoints import check_fit, load_strictly, read_weights
from gen3dexport.networks.dinov2 import Dinov2, Dinov2Tokens
from gen3dexport.networks.dinov2_names import apart, as_published, joined, transformers_names


def released(name: str, model: Model) -> nn.Module:
    """What the file of a component holds, with random weights, its tensors under their released names (DINOv2's under
    those of `Dinov2`)."""
    match name:
        case "image_encoder":
            c = model.image_encoder
            edge = c.image_size // c.patch_size
            return Dinov2(c.hidden_size, c.num_hidden_layers, c.num_attention_heads, edge, c.patch_size)
        case "flow":
            return Flow(model.transformer)
        case _:
            return Autoencoder(model.vae)


def built(name: str, module: nn.Module, settings: Settings) -> nn.Module:
    """The network of a component, of what its file holds."""
    model = settings.model
    unpack(module)
    match name:
        case "image_encoder":
            assert isinstance(module, Dinov2)
            edge = model.processor.crop_size // model.image_encoder.patch_size
            made: nn.Module = Dinov2Tokens(module, (edge, edge), settings.position_table)
        case "latent_decoder":
            assert isinstance(module, Autoencoder)
            made = LatentDecoder(module)
        case "query":
            assert isinstance(module, Autoencoder)
            made = Query(module, model.vae)
        case _:
            assert isinstance(module, Flow)
            module.tabulate_time(timesteps(settings))
            made = module
    return made.eval().requires_grad_(False)


def load_component(name: str, settings: Settings, stem: Path, weights: Weights, reading: Reading) -> Component:
    """One component with the weights of `stem`.safetensors, with seeded random ones, or as shapes.

    Raises:
        UsageError: when the file is missing, damaged or does not fit.
    """
    if weights == "stored":
        path = stem.with_name(f"{stem.name}.safetensors")
        state = read_weights(path, reading.allow_pickle, reading.strip_prefix)
        with torch.device("meta"):
            module = released(name, settings.model)
        if isinstance(module, Dinov2):
            state = own_names(module, state, str(path))
        return _component(name, built(name, load_strictly(module, state, str(path)), settings), settings)
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return _component(name, built(name, released(name, settings.model), settings), settings)
    with torch.device("meta"):
        made = _component(name, built(name, released(name, settings.model), settings), settings)
        return made.with_inputs(example_inputs(name, settings))


def own_names(module: Dinov2, state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """A file of the transformers library by the names of `Dinov2`; files of its version 5 are read too.

    Raises:
        UsageError: with the tensors that are missing, unexpected or misshapen, by their names in the file.
    """
    own = module.state_dict()
    state = as_published(state)
    wanted: dict[str, Tensor] = {}
    for name, value in own.items():
        wanted |= apart(value, transformers_names(name))
    check_fit(wanted, state, where)
    return {name: joined(state, transformers_names(name)) for name in own}


def example_inputs(name: str, settings: Settings) -> dict[str, Tensor]:
    """Inputs of a component, all zero."""
    model = settings.model
    vae, latent = model.vae, (1, settings.tokens, model.transformer.in_channels)
    heads = (vae.num_attention_heads, settings.tokens, vae.width_decoder // vae.num_attention_heads)
    condition = (1, model.image_tokens, model.transformer.cross_attention_dim)
    shapes: Mapping[str, Mapping[str, tuple[int, ...]]] = {
        "image_encoder": {"image": (1, 3, model.processor.crop_size, model.processor.crop_size)},
        "flow": {"x": latent, "t": (1,), "cond": condition},
        "latent_decoder": {"z": latent},
        "query": {"context": (1, 2, *heads), "points": (1, settings.chunk, 3)},
    }
    return {key: torch.zeros(shape) for key, shape in shapes[name].items()}


def _component(name: str, network: nn.Module, settings: Settings) -> Component:
    schedule, loop = settings.schedule, None
    if name == "flow":
        loop = Euler.of(schedule, timesteps(settings))
    return Component(name, network, {}, (OUTPUTS[name],), stack=getattr(network, "stack", None), loop=loop)


def timesteps(settings: Settings) -> tuple[float, ...]:
    """What the flow gets as `t` at each step."""
    return tuple(1000 * t for t in settings.schedule.times[:-1])
