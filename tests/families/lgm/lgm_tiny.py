"""LGM and L4GM small: golden sets as checkpoint folders, a recipe, and views of an object."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tiny_recipes
from safetensors.torch import load_file, save_file

from gen3dexport.models.image_preparation import sample_image

GOLDEN = Path(__file__).parents[2] / "golden" / "lgm"


def checkpoint(folder: Path, kind: str = "lgm", **fields: Any) -> Path:
    """`folder`, made a checkpoint of `lgm` or `l4gm`, whose second network is the first one with larger opacities."""
    folder.mkdir(exist_ok=True, parents=True)
    config = json.loads((GOLDEN / kind / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))
    source = GOLDEN / kind / "weights.safetensors"
    if kind == "lgm":
        shutil.copyfile(source, folder / "model_fixrot.safetensors")
        return folder
    shutil.copyfile(source, folder / "recon.safetensors")
    state = load_file(source)
    state["conv.bias"][3] += 1
    save_file(state, folder / "interp.safetensors")
    return folder


def recipe(weights: Path, path: Path, knobs: str = "{}", kind: str = "gaussians") -> Path:
    """The recipe of that checkpoint, written to `path`; `knobs` is YAML."""
    summary = "the golden set's network as a pipeline; views in, Gaussians out"
    return tiny_recipes.recipe("lgm", weights, path, summary, f"{kind}: {{ssim: 0.99}}", knobs)


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    """Seeded pictures, uint8 [64, 64, 4]."""
    return [np.ascontiguousarray(sample_image(seed + k, 64)) for k in range(count)]
