"""MoGe-2 small: a golden set as a checkpoint folder, and a recipe."""

from __future__ import annotations

import shutil
from pathlib import Path

GOLDEN = Path(__file__).parents[2] / "golden" / "moge_2"

RECIPE = """\
schema: 2
name: moge-tiny
summary: the golden set's network as a pipeline; a photograph in, geometry out
family: moge_2
weights: {weights}
knobs: {{size: [42, 56], grid: 32, cut: 10}}
golden:
  prompts: [first, second]
budgets:
  relative_l2: 1.0e-3
  relative_l2_fp32: 1.0e-3
  scores:
    depth_map: {{delta1: 0.99}}
"""


def checkpoint(folder: Path) -> Path:
    """`folder`, made a checkpoint."""
    folder.mkdir(exist_ok=True)
    shutil.copyfile(GOLDEN / "model" / "config.json", folder / "config.json")
    shutil.copyfile(GOLDEN / "model" / "weights.safetensors", folder / "model.safetensors")
    return folder


def recipe(weights: Path, path: Path) -> Path:
    """The recipe of that checkpoint, written to `path`."""
    path.write_text(RECIPE.format(weights=weights))
    return path
