"""V-JEPA 2 small: a golden set as a checkpoint folder, a recipe, and films."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tiny_recipes
from PIL import Image
from safetensors.numpy import load_file, save_file

from gen3dexport.models.v_jepa2.host.clip import drifting

GOLDEN = Path(__file__).parents[2] / "golden" / "v_jepa2"


def checkpoint(folder: Path, layers: int = 2, **fields: Any) -> Path:
    """`folder`, made a checkpoint of a clip of 8 frames of 16 x 16 pixels: 4 moments of 4 x 4 patches.

    Args:
        layers: of the encoder; those beyond the golden set's two are like its second one.
    """
    folder.mkdir(exist_ok=True, parents=True)
    config = json.loads((GOLDEN / "predictor_later" / "config.json").read_text())
    about = {"model_type": "vjepa2", "architectures": ["VJEPA2Model"], "initializer_range": 0.02}
    (folder / "config.json").write_text(json.dumps({**about, **config, "num_hidden_layers": layers, **fields}))
    source = GOLDEN / "predictor_later" / "weights.safetensors"
    if layers == 2:
        shutil.copyfile(source, folder / "model.safetensors")
        return folder
    state = load_file(source)
    second = {name: value for name, value in state.items() if name.startswith("encoder.layer.1.")}
    for k in range(2, layers):
        state |= {name.replace(".layer.1.", f".layer.{k}."): value * (1 + 0.01 * k) for name, value in second.items()}
    save_file(state, folder / "model.safetensors")
    return folder


def recipe(weights: Path, path: Path, knobs: str = "{frames: 8}") -> Path:
    """The recipe of that checkpoint, written to `path`; `knobs` is YAML."""
    summary = "the golden set's networks as a pipeline; a film in, features over time out"
    return tiny_recipes.recipe(
        "v_jepa2", weights, path, summary, "feature_film: {cosine: 0.999, relative_l2: 0.01}", knobs
    )


def film(folder: Path, frames: int, seed: int = 0) -> Path:
    """`folder` with so many pictures of a ball that moves to the right."""
    folder.mkdir(parents=True)
    for k, picture in enumerate(drifting(seed, frames)):
        Image.fromarray(np.ascontiguousarray(picture)).save(folder / f"{k}.png")
    return folder
