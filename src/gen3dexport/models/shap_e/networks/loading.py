"""From the files of a published folder to the components, strictly."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gen3dexport.errors import UsageError
from gen3dexport.models.component import Component
from gen3dexport.models.declaration import Reading, Weights
from gen3dexport.models.shap_e.host.model import POSITION_FEATURES, Model
from gen3dexport.models.shap_e.host.settings import IMAGE, OUTPUTS, TEXT, Settings
from gen3dexport.models.shap_e.networks.prior import Prior
from gen3dexport.models.shap_e.networks.renderer import Layers, Query, Released
from gen3dexport.networks.checkpoints import load_strictly, read_weights
from gen3dexport.networks.clip_vectors import image_grid, text_vectors

_OF_IMAGES = "embedding_proj_norm.weight"


def load_component(name: str, settings: Settings, stem: Path, weights: Weights, reading: Reading) -> Component:
    """One component with the weights of `stem`.safetensors (or a pickle), with seeded random ones, or as shapes.

    Raises:
        UsageError: when the file is missing, damaged, of the other model, or does not fit.
    """
    with torch.device("meta") if weights == "shapes" else nullcontext():
        if name in (TEXT, IMAGE):
            made = _clip(settings, stem.parent if weights == "stored" else None, reading)
        else:
            made = built(name, _network(name, settings.model, stem, weights, reading), settings)
        inputs = example_inputs(name, settings) if weights == "shapes" else {}
    return Component(name, made, inputs, OUTPUTS[name], stack=getattr(made, "stack", None))


def released(name: str, model: Model) -> Prior | Released:
    """What the file of a component holds, with random values."""
    return Prior(model.prior) if name == "prior" else Released(model.renderer)


def _network(name: str, model: Model, stem: Path, weights: Weights, reading: Reading) -> nn.Module:
    if weights != "stored":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return released(name, model)
    path = stem.with_name(f"{stem.name}.safetensors")
    state = read_weights(path, reading.allow_pickle, reading.strip_prefix)
    with torch.device("meta"):
        made = released(name, model)
    if name == "prior" and "positional_embedding" in state:
        of = {True: "of pictures (shap-e-img2img)", False: "of prompts (shap-e)"}
        file, own = _OF_IMAGES in state, _OF_IMAGES in made.state_dict()
        if file != own:
            raise UsageError(
                f"{path}: is the prior {of[file]}, and the configuration is of the one {of[own]}; copy both again"
            )
    return load_strictly(made, state, str(path))


def built(name: str, module: nn.Module, settings: Settings) -> nn.Module:
    """The network of a component, of what its file holds."""
    made = module
    if isinstance(module, Prior):
        made = module.trim()
    elif isinstance(module, Released):
        config = settings.model.renderer
        if name == "layers":
            made = Layers(module)
        else:
            made = Query(module, config, "distance" if name == "distance" else "color")
    return made.eval().requires_grad_(False)


def _clip(settings: Settings, folder: Path | None, reading: Reading) -> nn.Module:
    options: Any = (reading.allow_pickle, reading.strip_prefix)
    if settings.clip_text is not None:
        return text_vectors(settings.clip_text.model_dump(), folder, *options)
    assert settings.clip_vision is not None
    return image_grid(settings.clip_vision.model_dump(), folder, False, *options)


def example_inputs(name: str, settings: Settings) -> dict[str, Tensor]:
    """Inputs of a component, all zero."""
    prior, renderer = settings.model.prior, settings.model.renderer
    if name == TEXT:
        assert settings.clip_text is not None
        length = settings.clip_text.max_position_embeddings
        return {"ids": torch.zeros((1, length), dtype=torch.int64), "end": torch.zeros((1, length))}
    batch, latents = settings.batch, (prior.num_embeddings, prior.embedding_dim)
    width, made = renderer.d_hidden, len(renderer.param_shapes)
    points = {"first": (1, width, POSITION_FEATURES), "rest": (1, made - 1, width, width)}
    shapes: Mapping[str, Mapping[str, tuple[int, ...]]] = {
        "prior": {"x": (batch, *latents), "t": (batch,), "cond": (batch, *settings.condition)},
        "layers": {"latents": (1, *latents)},
        "distance": {**points, "points": (1, settings.chunk, 3)},
        "color": {**points, "points": (1, settings.chunk, 3)},
    }
    if name == IMAGE:
        assert settings.clip_vision is not None
        shapes = {IMAGE: {"image": (1, 3, settings.clip_vision.image_size, settings.clip_vision.image_size)}}
    return {key: torch.zeros(shape) for key, shape in shapes[name].items()}
