"""TripoSR small: the golden set of a whole model as a checkpoint folder, and its recipe."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

GOLDEN = Path(__file__).parents[2] / "golden" / "triposr"

KNOBS = {"chunk": 512, "resolution": 20, "coarse": 3, "threshold": 0.5}
"""The set's networks are not trained: their density is about 0.4, and nowhere 25."""

RECIPE = """\
schema: 2
name: triposr-tiny
summary: the golden set's networks as a pipeline; a picture in, a mesh out
family: triposr
weights: {weights}
knobs: {knobs}
golden:
  prompts: [first, second]
budgets:
  relative_l2: 1.0e-3
  relative_l2_fp32: 1.0e-3
  scores:
    mesh: {{f_score: 0.99}}
"""


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
    path.write_text(RECIPE.format(weights=weights, knobs=json.dumps(KNOBS)))
    return path
