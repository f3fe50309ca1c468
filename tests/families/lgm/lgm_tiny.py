"""LGM and L4GM small: golden sets as checkpoint folders, a recipe, and views of an object."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file, save_file

from gen3dexport.models.image_preparation import sample_image

GOLDEN = Path(__file__).parents[2] / "golden" / "lgm"

RECIPE = """\
schema: 2
name: {name}
summary: the golden set's network as a pipeline; views in, Gaussians out
family: lgm
weights: {weights}
knobs: {knobs}
golden:
  prompts: [first, second]
budgets:
  relative_l2: 1.0e-3
  relative_l2_fp32: 1.0e-3
  scores:
    {kind}: {{ssim: 0.99}}
"""


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
    path.write_text(RECIPE.format(name=path.stem, knobs=knobs, weights=weights, kind=kind))
    return path


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    """Seeded pictures, uint8 [64, 64, 4]."""
    return [np.ascontiguousarray(sample_image(seed + k, 64)) for k in range(count)]
