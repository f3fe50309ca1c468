"""TripoSG small: the golden sets of the flow and of the autoencoder, and a seeded image encoder, as a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tiny_encoders
import tiny_recipes
from safetensors.torch import load_file, save_file

GOLDEN = Path(__file__).parents[2] / "golden" / "triposg"

KNOBS = {"tokens": 20, "steps": 3, "chunk": 512, "resolution": 20, "coarse": 3}

ENCODER = {"hidden_size": 20, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 70, "patch_size": 14}
FILES = {
    "flow": "transformer/diffusion_pytorch_model.safetensors",
    "latent_decoder": "vae/diffusion_pytorch_model.safetensors",
    "query": "vae/diffusion_pytorch_model.safetensors",
    "image_encoder": "image_encoder_dinov2/model.safetensors",
}


def _sized(kind: str, *sizes: str) -> dict[str, Any]:
    """A set's configuration without the sizes of its inputs."""
    config: dict[str, Any] = json.loads((GOLDEN / kind / "config.json").read_text())
    return {name: value for name, value in config.items() if name not in sizes}


def configurations() -> dict[str, dict[str, Any]]:
    """The checkpoint's JSON files by their paths."""
    return {
        "model_index.json": {"_class_name": "TripoSGPipeline", "_diffusers_version": "0.30.0"},
        "transformer/config.json": _sized("dit", "tokens", "cond_tokens") | {"_class_name": "TripoSGDiTModel"},
        "vae/config.json": _sized("vae", "latent_tokens"),
        "image_encoder_dinov2/config.json": {"model_type": "dinov2", "drop_path_rate": 0.0, **ENCODER},
        "scheduler/scheduler_config.json": {"num_train_timesteps": 1000, "shift": 1.0},
        "feature_extractor_dinov2/preprocessor_config.json": {
            "size": {"shortest_edge": 64},
            "crop_size": {"height": 56, "width": 56},
        },
    }


def checkpoint(folder: Path) -> Path:
    """`folder`, made a checkpoint in the released layout."""
    for name, content in configurations().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    for component, kind in {"flow": "dit", "query": "vae"}.items():
        save_file(load_file(GOLDEN / kind / "weights.safetensors"), folder / FILES[component])
    save_file(tiny_encoders.dinov2_state(5), folder / FILES["image_encoder"])
    return folder


def recipe(weights: Path, path: Path) -> Path:
    """The recipe of that checkpoint, written to `path`."""
    summary = "the golden sets' networks as a pipeline; a picture in, a mesh out"
    return tiny_recipes.recipe("triposg", weights, path, summary, "mesh: {f_score: 0.99}", KNOBS, "triposg-tiny")
