"""From the files of a checkpoint folder to the components, strictly."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gen3dexport.models.component import Component
from gen3dexport.models.declaration import Reading, Weights
from gen3dexport.models.point_e.host.model import CHANNELS, Denoising, Sdf
from gen3dexport.models.point_e.host.settings import OUTPUT, Settings, encoded, given_to
from gen3dexport.models.point_e.networks.layouts import read_released, released
from gen3dexport.models.point_e.networks.sdf import CloudEncoder, Query, SdfModel
from gen3dexport.networks.checkpoints import read_weights
from gen3dexport.networks.clip_vectors import image_grid, text_vectors


def load_component(name: str, settings: Settings, stem: Path, weights: Weights, reading: Reading) -> Component:
    """One component with the weights of `stem`.safetensors (or a pickle), with seeded random ones, or as shapes.

    Raises:
        UsageError: when the file is missing, damaged, of another network, or does not fit.
    """
    clip = name in ("text_encoder", "image_encoder")
    with torch.device("meta") if weights == "shapes" else nullcontext():
        if clip:
            made = _clip(settings, stem.parent if weights == "stored" else None, reading)
        else:
            made = _built(name, _network(_config(name, settings), stem, weights, reading))
        inputs = example_inputs(name, settings) if weights == "shapes" else {}
    outputs = {"base": (OUTPUT,), "upsampler": (OUTPUT,), "sdf_encoder": ("context",), "sdf_query": ("sdf",)}
    names = encoded(settings) if clip else outputs[name]
    return Component(name, made, inputs, names, stack=getattr(made, "stack", None))


def _config(name: str, settings: Settings) -> Denoising | Sdf:
    if name in ("base", "upsampler"):
        config: Denoising = getattr(settings.model, name)
        return config
    assert settings.model.sdf is not None
    return settings.model.sdf


def _network(config: Denoising | Sdf, stem: Path, weights: Weights, reading: Reading) -> nn.Module:
    if weights == "stored":
        path = stem.with_name(f"{stem.name}.safetensors")
        return read_released(config, read_weights(path, reading.allow_pickle, reading.strip_prefix), str(path))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return released(config)


def _built(name: str, module: nn.Module) -> nn.Module:
    if isinstance(module, SdfModel):
        module = CloudEncoder(module) if name == "sdf_encoder" else Query(module)
    return module.eval().requires_grad_(False)


def _clip(settings: Settings, folder: Path | None, reading: Reading) -> nn.Module:
    options: Any = (reading.allow_pickle, reading.strip_prefix)
    if settings.clip_text is not None:
        return text_vectors(settings.clip_text.model_dump(), folder, *options)
    assert settings.clip_vision is not None
    return image_grid(settings.clip_vision.model_dump(), folder, "vector" in encoded(settings), *options)


def example_inputs(name: str, settings: Settings) -> dict[str, Tensor]:
    """Inputs of a component, all zero."""
    if name == "text_encoder":
        assert settings.clip_text is not None
        length = settings.clip_text.max_position_embeddings
        return {"ids": torch.zeros((1, length), dtype=torch.int64), "end": torch.zeros((1, length))}
    model = settings.model
    shapes: Mapping[str, tuple[int, ...]]
    if name == "image_encoder":
        assert settings.clip_vision is not None
        shapes = {"image": (1, 3, settings.clip_vision.image_size, settings.clip_vision.image_size)}
    elif name == "sdf_encoder":
        shapes = {"cloud": (1, model.points, 3)}
    elif name == "sdf_query":
        assert model.sdf is not None
        heads = model.sdf.decoder_heads
        context = (1, 2 * model.sdf.decoder_layers, heads, model.points, model.sdf.width // heads)
        shapes = {"context": context, "points": (1, settings.chunk, 3)}
    else:
        config: Denoising = getattr(model, name)
        batch = settings.batches[0 if name == "base" else 1]
        known = {"cond": config.condition, "low_res": (CHANNELS, config.cond_ctx)}
        shapes = {"x": (batch, CHANNELS, config.n_ctx), "t": (batch,)}
        shapes |= {key: (batch, *known[key]) for key in given_to(name, settings)}
    return {key: torch.zeros(shape) for key, shape in shapes.items()}
