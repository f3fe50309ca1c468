"""TripoSR small: the golden set of a whole model as a checkpoint folder, and its recipe."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import tiny_recipes

GOLDEN = Path(__file__).parents[2] / "golden" / "triposr"

KNOBS = {"chunk": 512, "resolution": 20, "coarse": 3, "threshold": 0.5}
"""The set's networks are not trained: their density is about 0.4, and nowhere 25."""


def checkpoint(folder: Path) -> Path:
    """`folder`, made a checkpoint in the released layout."""
    config = json.loads((GOLDEN / "e2e" / "config.json").read_text())
    del config["image_hw"]  # of the set's picture
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(json.dumps(config))
    shutil.copyfile(GOLDEN / "e2e" / "weights.safetensors", folder / "model.safetensors")
    return folder


def recipe(weights: Path, path: Path) -> Path:
    """The recipe of that checkpoint, written to `path`."""
    summary = "the golden set's networks as a pipeline; a picture in, a mesh out"
    return tiny_recipes.recipe("triposr", weights, path, summary, "mesh: {f_score: 0.99}", KNOBS, "triposr-tiny")
