"""From a released file (`model.safetensors`, or `model.ckpt` on demand) to the components, strictly."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from gen3dexport.models.component import Component
from gen3dexport.models.declaration import Reading, Weights
from gen3dexport.models.triposr.host.model import Model
from gen3dexport.models.triposr.host.settings import PositionTable, Settings
from gen3dexport.models.triposr.networks.query import FieldDecoder, Query
from gen3dexport.models.triposr.networks.transformer import Transformer
from gen3dexport.models.triposr.networks.triplane import PLANES, TriplaneBackbone, TriplaneTokenizer, Upsampler
from gen3dexport.models.triposr.networks.vit import ImageEncoder, ImageTokenizer
from gen3dexport.networks.checkpoints import check_fit, load_strictly, read_weights

PARTS: Mapping[str, tuple[str, ...]] = {
    "image_encoder": ("image_tokenizer",),
    "backbone": ("tokenizer", "backbone", "post_processor"),
    "query": ("decoder",),
}
"""Parts of the released file, the first words of its tensors' names, by component."""

# Names that later versions of the transformers library give the encoder's tensors.
_LATER = re.compile(r"^(image_tokenizer\.)?model\.layers\.(\d+)\.(.+)\.(weight|bias)$")
_LAYER = {
    "attention.q_proj": "attention.attention.query",
    "attention.k_proj": "attention.attention.key",
    "attention.v_proj": "attention.attention.value",
    "attention.o_proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}


def released_name(name: str) -> str:
    """The released name of a tensor that may have the name of a later version."""
    found = _LATER.match(name)
    if found is None:
        return name
    prefix, layer, part, kind = found.groups()
    return f"{prefix or ''}model.encoder.layer.{layer}.{_LAYER.get(part, part)}.{kind}"


def part(name: str, model: Model) -> nn.Module:
    """A part of the released file with random weights, its tensors under their released names."""
    match name:
        case "image_tokenizer":
            return ImageTokenizer(model.vit)
        case "tokenizer":
            return TriplaneTokenizer(model.tokenizer)
        case "backbone":
            return Transformer(model.backbone)
        case "post_processor":
            return Upsampler(model.post_processor)
        case _:
            return FieldDecoder(model.decoder)


def parts(model: Model, component: str | None = None) -> nn.ModuleDict:
    """The parts of a component, or of the whole file, by name."""
    names = PARTS[component] if component else [name for group in PARTS.values() for name in group]
    return nn.ModuleDict({name: part(name, model) for name in names})


def read_parts(model: Model, component: str | None, state: Mapping[str, Tensor], where: str) -> nn.ModuleDict:
    """The parts of a component (or all) with the weights of a released state dict, which has no others than those of
    the whole model.

    Raises:
        UsageError: with the tensors that are missing, unexpected or misshapen.
    """
    known = {name for group in PARTS.values() for name in group}
    made = parts(model, component)
    state = {released_name(name): value for name, value in state.items()}
    wanted = {name: value for name, value in state.items() if _part_of(name) in made or _part_of(name) not in known}
    load_strictly(made, wanted, where)
    return made


def _part_of(name: str) -> str:
    return name.partition(".")[0]


def _image_encoder(made: nn.ModuleDict, model: Model, table: PositionTable) -> nn.Module:
    tokenizer = made["image_tokenizer"]
    assert isinstance(tokenizer, ImageTokenizer)
    return ImageEncoder(tokenizer, model.cond_image_size, table)


def _backbone(made: nn.ModuleDict, _: Model, __: PositionTable) -> nn.Module:
    tokens, transformer, upsampler = made["tokenizer"], made["backbone"], made["post_processor"]
    assert isinstance(tokens, TriplaneTokenizer)
    assert isinstance(transformer, Transformer)
    assert isinstance(upsampler, Upsampler)
    return TriplaneBackbone(tokens, transformer, upsampler)


def _query(made: nn.ModuleDict, model: Model, _: PositionTable) -> nn.Module:
    decoder = made["decoder"]
    assert isinstance(decoder, FieldDecoder)
    return Query(decoder, model.renderer.radius, model.plane_edge)


_NETWORKS: Mapping[str, Callable[[nn.ModuleDict, Model, PositionTable], nn.Module]] = {
    "image_encoder": _image_encoder,
    "backbone": _backbone,
    "query": _query,
}


def assembled(component: str, made: nn.ModuleDict, model: Model, table: PositionTable) -> nn.Module:
    """The network of a component of its parts."""
    return _NETWORKS[component](made, model, table).eval().requires_grad_(False)


def load_component(name: str, settings: Settings, stem: Path, weights: Weights, reading: Reading) -> Component:
    """One component with the weights of `stem`.safetensors, with seeded random ones, or as shapes.

    Raises:
        UsageError: when the file is missing, damaged or does not fit.
    """
    model = settings.model
    if weights == "stored":
        path = stem.with_name(f"{stem.name}.safetensors")
        state = read_weights(path, reading.allow_pickle, reading.strip_prefix)
        with torch.device("meta"):  # the whole file, before the first of its networks is worked on
            check_fit(parts(model).state_dict(), {released_name(key): value for key, value in state.items()}, str(path))
        made = read_parts(model, name, state, str(path))
        return _component(name, assembled(name, made, model, settings.position_table))
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return _component(name, assembled(name, parts(model, name), model, settings.position_table))
    with torch.device("meta"):
        network = assembled(name, parts(model, name), model, settings.position_table)
        return _component(name, network).with_inputs(example_inputs(name, settings))


def example_inputs(name: str, settings: Settings) -> dict[str, Tensor]:
    """Inputs of a component, all zero."""
    model = settings.model
    pixels, windows = [model.cond_image_size] * 2, (model.plane_edge + 1) ** 2
    shapes: Mapping[str, Mapping[str, tuple[int, ...]]] = {
        "image_encoder": {"image": (1, 3, *pixels)},
        "backbone": {"features": (1, model.image_tokens, model.vit.hidden_size)},
        "query": {
            "planes": (1, PLANES, windows, 4 * model.post_processor.out_channels),
            "points": (1, settings.chunk, 3),
        },
    }
    return {name: torch.zeros(shape) for name, shape in shapes[name].items()}


_OUTPUTS: Mapping[str, tuple[str, ...]] = {
    "image_encoder": ("features",),
    "backbone": ("planes",),
    "query": ("density", "features"),
}


def _component(name: str, network: nn.Module) -> Component:
    return Component(name, network, {}, _OUTPUTS[name], stack=getattr(network, "stack", None))
