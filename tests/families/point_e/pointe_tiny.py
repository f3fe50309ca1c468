"""Point-E small: golden sets as a checkpoint folder with CLIP's halves, seeded; a recipe; the library's own models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import tiny_encoders
import tiny_recipes
import torch
from safetensors.torch import save_file
from torch import nn

GOLDEN = Path(__file__).parents[2] / "golden" / "point_e"

SETS = {"image": "base_grid", "text": "base_vec", "imagevec": "base_vec", "nothing": "base_uncond"}
"""What a tiny pipeline makes clouds of -> the golden set of its first network."""
COARSE, DENSER = 10, 30
KNOBS = {
    "base": {"steps": 3},
    "upsampler": {"steps": 2},
    "mesh": True,
    "chunk": 200,
    "resolution": 16,
    "coarse": 3,
}
TEXT = {**tiny_encoders.CLIP, "projection_dim": 20}
VISION = {"hidden_size": 20, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION |= {"image_size": 42, "patch_size": 14, "projection_dim": 20}


def config(name: str, **changes: Any) -> dict[str, Any]:
    """The configuration of a golden set's network."""
    read: dict[str, Any] = json.loads((GOLDEN / name / "config.json").read_text())
    return {"file": name, **read, **changes}


def library(kind: str) -> nn.Module:
    """CLIP's half of the transformers library, its own layout, seeded."""
    from transformers import (
        CLIPTextConfig,
        CLIPTextModelWithProjection,
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
    )

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if kind == "text":
            return tiny_encoders._seeded(CLIPTextModelWithProjection(CLIPTextConfig(**TEXT)))
        return tiny_encoders._seeded(CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION)))


def write_clip(folder: Path) -> Path:
    """Both halves as one model, in the library's layout."""
    folder.mkdir(parents=True, exist_ok=True)
    state: dict[str, torch.Tensor] = {"logit_scale": torch.tensor(1.0)}
    for kind in ("text", "vision"):
        state |= {name: value.clone().contiguous() for name, value in library(kind).state_dict().items()}
    save_file(state, folder / "model.safetensors")
    halves = {"text_config": TEXT, "vision_config": VISION}
    (folder / "config.json").write_text(json.dumps({"model_type": "clip", "projection_dim": 20, **halves}))
    tiny_encoders.write_tokenizer(folder / "tokenizer.json")
    return folder


def checkpoint(folder: Path, made_of: str = "image", clip: bool = True) -> Path:
    """`folder`, made a checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {
        "base": config(SETS[made_of], n_ctx=COARSE),
        "upsampler": config("upsample", n_ctx=DENSER, cond_ctx=COARSE),
        "sdf": config("sdf", n_ctx=COARSE + DENSER),
    }
    for part in parts.values():
        shutil.copyfile(GOLDEN / part["file"] / "weights.safetensors", folder / f"{part['file']}.safetensors")
    made = {"imagevec": "image"}.get(made_of, made_of)
    (folder / "config.json").write_text(json.dumps({"made_of": made, **parts}))
    if clip and made_of != "nothing":
        write_clip(folder / "clip-vit-large-patch14")
    return folder


def recipe(weights: Path, path: Path, **knobs: Any) -> Path:
    """The recipe of that checkpoint, written to `path`."""
    summary = "the golden sets' networks as a pipeline; a picture or a prompt in, points and a mesh out"
    return tiny_recipes.recipe(
        "point-e",
        weights,
        path,
        summary,
        "points: {f_score: 0.9}",
        {**KNOBS, **knobs},
        prompts="[a red chair, a tall table]",
    )
