"""Depth Anything V2 small: golden sets as checkpoint folders, in either layout, and a recipe."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

GOLDEN = Path(__file__).parents[2] / "golden" / "depth_anything_v2"

RECIPE = """\
schema: 2
name: depth-tiny
summary: the golden set's network as a pipeline; a photograph in, depth out
family: depth_anything_v2
weights: {weights}
knobs: {{size: [42, 70]}}
golden:
  prompts: [first, second]
budgets:
  relative_l2: 1.0e-3
  relative_l2_fp32: 1.0e-3
  scores:
    depth_map: {{delta1: 0.99}}
"""


def checkpoint(folder: Path, kind: str = "relative", layout: str = "hf") -> Path:
    """`folder`, made a checkpoint: `model.safetensors`, or a file named as the original release's."""
    folder.mkdir(exist_ok=True)
    shutil.copyfile(GOLDEN / kind / "config.json", folder / "config.json")
    source, name = ("weights", "model") if layout == "hf" else ("weights_pth", "depth_anything_v2_vits")
    shutil.copyfile(GOLDEN / kind / f"{source}.safetensors", folder / f"{name}.safetensors")
    return folder


def configured(folder: Path, **fields: object) -> Path:
    """`folder` with fields of its configuration changed; None takes one out."""
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **fields}
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    return folder


def recipe(weights: Path, path: Path) -> Path:
    """The recipe of that checkpoint, written to `path`."""
    path.write_text(RECIPE.format(weights=weights))
    return path
