"""Shap-E small: golden sets as a checkpoint folder with CLIP's halves, seeded; a recipe."""

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

GOLDEN = Path(__file__).parents[2] / "golden" / "shap_e"

KNOBS = {"steps": 3, "chunk": 700, "resolution": 16, "coarse": 3}
TEXT = {**tiny_encoders.CLIP, "projection_dim": 14}
VISION = {"hidden_size": 14, "intermediate_size": 28, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION |= {"image_size": 42, "patch_size": 14, "projection_dim": 20}


def config(name: str) -> dict[str, Any]:
    """The configuration of a golden set."""
    read: dict[str, Any] = json.loads((GOLDEN / name / "config.json").read_text())
    return read


def library(kind: str) -> nn.Module:
    """CLIP's half of the transformers library as the published folders have it, seeded."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPVisionConfig, CLIPVisionModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if kind == "text":
            return tiny_encoders._seeded(CLIPTextModelWithProjection(CLIPTextConfig(**TEXT)))
        return tiny_encoders._seeded(CLIPVisionModel(CLIPVisionConfig(**VISION)))


def checkpoint(folder: Path, made_of: str = "text", clip: bool = True) -> Path:
    """`folder`, made a checkpoint in the published layout."""
    pipeline = {"text": "ShapEPipeline", "image": "ShapEImg2ImgPipeline"}[made_of]
    files = {
        "model_index.json": {"_class_name": pipeline, "_diffusers_version": "0.42.1"},
        "prior/config.json": {"_class_name": "PriorTransformer", **config(f"prior_{made_of}")},
        "shap_e_renderer/config.json": {"_class_name": "ShapERenderer", **config("renderer")},
        "scheduler/scheduler_config.json": {"_class_name": "HeunDiscreteScheduler", **config("sampler")["scheduler"]},
    }
    if clip and made_of == "text":
        files["text_encoder/config.json"] = {"model_type": "clip_text_model", **TEXT}
    elif clip:
        files["image_encoder/config.json"] = {"model_type": "clip_vision_model", **VISION}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    for place, source in {"prior": f"prior_{made_of}", "shap_e_renderer": "renderer"}.items():
        shutil.copyfile(GOLDEN / source / "weights.safetensors", folder / place / "diffusion_pytorch_model.safetensors")
    if clip:
        part = "text_encoder" if made_of == "text" else "image_encoder"
        prefix = "" if made_of == "text" else "vision_model."
        state = library("text" if made_of == "text" else "vision").state_dict()
        named = {
            name if name.startswith(prefix) else f"{prefix}{name}": value.clone().contiguous()
            for name, value in state.items()
        }
        save_file(named, folder / part / "model.safetensors")
    if clip and made_of == "text":
        (folder / "tokenizer").mkdir(exist_ok=True)
        tiny_encoders.write_tokenizer(folder / "tokenizer" / "tokenizer.json")
    return folder


def recipe(weights: Path, path: Path, **knobs: Any) -> Path:
    """The recipe of that checkpoint, written to `path`."""
    summary = "the golden sets' networks as a pipeline; a prompt or a picture in, a mesh out"
    return tiny_recipes.recipe(
        "shap-e", weights, path, summary, "mesh: {f_score: 0.9}", {**KNOBS, **knobs}, prompts="[red chair, tall table]"
    )
