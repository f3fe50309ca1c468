"""Hunyuan3D-2 small, plain and turbo: golden sets and a seeded image encoder in one file, as a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tiny_encoders
import tiny_recipes
import torch
from safetensors.torch import load_file, save_file

GOLDEN = Path(__file__).parents[2] / "golden" / "hunyuan3d_2"
KNOBS = {"steps": 4, "chunk": 512, "resolution": 20, "coarse": 3}
FILE = "model.fp16.safetensors"
ENCODER = {
    "hidden_size": 20, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 56, "patch_size": 14,
    "use_swiglu_ffn": True,
}  # fmt: skip
SETS = {"plain": ("dit", "vae_decoder"), "turbo": ("dit_guidance", "vae_decoder_small_geo")}


def configuration(kind: str) -> dict[str, Any]:
    """The checkpoint's `config.yaml`."""
    model, vae = (json.loads((GOLDEN / name / "config.json").read_text())["args"] for name in SETS[kind])
    name = "FlowMatchEulerDiscreteScheduler" if kind == "plain" else "ConsistencyFlowMatchEulerDiscreteScheduler"
    params = {"num_train_timesteps": 1000} | ({"shift": 1.0} if kind == "plain" else {"pcm_timesteps": 100})
    return {
        "model": {"target": "package.Hunyuan3DDiT", "params": model},
        "vae": {"target": "package.ShapeVAE", "params": vae},
        "conditioner": {"params": {"main_image_encoder": {"type": "Dino", "kwargs": {"config": ENCODER}}}},
        "scheduler": {"target": f"package.{name}", "params": params},
        "pipeline": {"target": "package.Pipeline"},
    }


def state(kind: str) -> dict[str, torch.Tensor]:
    """All tensors of the checkpoint, by their released names."""
    found = {}
    for name, prefix in zip(SETS[kind], ("model.", "vae."), strict=True):
        stored = load_file(GOLDEN / name / "weights.safetensors")
        found |= {prefix + key: value for key, value in stored.items()}
    encoder = tiny_encoders.dinov2_state(4, gated=True)
    return found | {f"conditioner.main_image_encoder.model.{key}": value for key, value in encoder.items()}


def checkpoint(folder: Path, kind: str = "plain") -> Path:
    """`folder`, made a checkpoint in the released layout."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(json.dumps(configuration(kind)))
    save_file(state(kind), folder / FILE)
    return folder


def recipe(weights: Path, path: Path) -> Path:
    """The recipe of that checkpoint, written to `path`."""
    summary = "the golden sets' networks as a pipeline; a picture in, a mesh out"
    return tiny_recipes.recipe(
        "hunyuan3d_2", weights, path, summary, "mesh: {f_score: 0.99}", KNOBS, "hunyuan3d-2-tiny"
    )
