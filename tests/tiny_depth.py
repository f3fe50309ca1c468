"""What the small checkpoints of depth families share: golden sets as folders, and a recipe."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import tiny_recipes

GOLDEN = Path(__file__).parent / "golden"


def checkpoint(folder: Path, golden: str, source: str = "weights", name: str = "model") -> Path:
    """`folder`, made a checkpoint of a golden set: its configuration, and `NAME.safetensors`."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(GOLDEN / golden / "config.json", folder / "config.json")
    shutil.copyfile(GOLDEN / golden / f"{source}.safetensors", folder / f"{name}.safetensors")
    return folder


def configured(folder: Path, **fields: object) -> Path:
    """`folder` with fields of its configuration changed; None takes one out."""
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **fields}
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    return folder


def recipe(family: str, name: str, knobs: str, weights: Path, path: Path) -> Path:
    """A recipe of the checkpoint in `weights`, written to `path`; `knobs` is YAML."""
    summary = "the golden set's network as a pipeline; a photograph in, depth out"
    return tiny_recipes.recipe(family, weights, path, summary, "depth_map: {delta1: 0.99}", knobs, name)
