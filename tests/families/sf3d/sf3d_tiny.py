"""SF3D small: a checkpoint folder in the released layout, random weights whose field has a surface, and its recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tiny_recipes
import torch
from safetensors.torch import save_file

from gen3dexport.models.sf3d.host.model import read_model
from gen3dexport.models.sf3d.networks.loading import Parts

GOLDEN = Path(__file__).parents[2] / "golden" / "sf3d"

KNOBS = {"chunk": 512, "resolution": 12, "coarse": 2, "texture_size": 96, "threshold": 0.4}

CONFIG: dict[str, Any] = {
    "cond_image_size": 62,
    "isosurface_resolution": 12,
    "isosurface_threshold": 10.0,
    "camera_embedder": {"out_channels": 20},
    "image_tokenizer": {
        "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 70,
        "modulation_cond_dim": 20,
    },
    "tokenizer": {"plane_size": 2, "num_channels": 32},
    "backbone": {
        "num_attention_heads": 2, "attention_head_dim": 16, "raw_triplane_channels": 32, "triplane_channels": 32,
        "raw_image_channels": 48, "num_latents": 12, "num_blocks": 2, "num_basic_blocks": 2, "cross_attention_dim": 48,
    },
    "post_processor": {"in_channels": 32, "out_channels": 8, "scale_factor": 2, "conv_layers": 3},
    "decoder": {
        "in_channels": 24,
        "n_neurons": 16,
        "heads": [
            {
                "name": "density", "out_channels": 1, "n_hidden_layers": 2, "out_bias": -1.0,
                "output_activation": "trunc_exp",
            },
            {"name": "features", "out_channels": 3, "n_hidden_layers": 3, "output_activation": "sigmoid"},
            {
                "name": "perturb_normal", "out_channels": 3, "n_hidden_layers": 3,
                "output_activation": "normalize_channel_last",
            },
            {"name": "vertex_offset", "out_channels": 3, "n_hidden_layers": 2},
        ],
    },
    "image_estimator": {
        "clip": {
            "width": 32, "layers": 2, "heads": 2, "image_size": 32, "patch_size": 8, "embed_dim": 24, "text_width": 16,
            "text_layers": 1, "context_length": 7, "vocab_size": 50,
        },
        "hidden_features": 24,
        "heads": [
            {"name": name, "out_channels": 1, "n_hidden_layers": 3, "output_activation": "linear", "output_bias": 1.0}
            for name in ("roughness", "metallic")
        ],
    },
}  # fmt: skip


def checkpoint(folder: Path, config: dict[str, Any] | None = None, text: bool = True) -> Path:
    """`folder`, made a checkpoint in the released layout."""
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(json.dumps(CONFIG if config is None else config))
    save_file(state(folder, text), folder / "model.safetensors")
    return folder


def state(folder: Path, text: bool = True) -> dict[str, torch.Tensor]:
    """Seeded random tensors of the folder's configuration, none of them even, by their released names."""
    generator = torch.Generator().manual_seed(3)
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in Parts(read_model(folder), text=text).state_dict().items()}
    made = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=generator)
        fan = shape[1:].numel() if len(shape) > 1 else 16
        norm = "norm" in name and "modulation" not in name and "perturb" not in name
        made[name] = 1 + 0.1 * values if norm else values / fan**0.5
        if name.startswith("decoder.heads") and name.endswith("weight"):
            made[name] *= 1.6
    return made


def recipe(weights: Path, path: Path) -> Path:
    """The recipe of that checkpoint, written to `path`."""
    summary = "small random networks as a pipeline; a picture in, a textured mesh out"
    return tiny_recipes.recipe("sf3d", weights, path, summary, "mesh: {f_score: 0.98}", KNOBS, "sf3d-tiny")
