"""TRELLIS's first stage small: the golden sets of its flow and its decoder as a checkpoint, and a recipe."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

GOLDEN = Path(__file__).parents[2] / "golden" / "trellis"

RECIPE = """\
schema: 2
name: trellis-tiny
summary: the golden sets' networks as a pipeline; features in, mesh out
family: trellis
weights: {weights}
golden:
  prompts: [first, second]
budgets:
  relative_l2: 1.0e-3
  relative_l2_fp32: 1.0e-3
  scores: {{voxels: {{iou: 0.99}}}}
"""


def checkpoint(folder: Path) -> Path:
    """`folder`, made a checkpoint in the released layout."""
    (folder / "ckpts").mkdir(parents=True, exist_ok=True)
    for name, source in (("ss_flow_tiny", "ss_flow"), ("ss_dec_tiny", "ss_dec")):
        shutil.copyfile(GOLDEN / source / "config.json", folder / "ckpts" / f"{name}.json")
        shutil.copyfile(GOLDEN / source / "weights.safetensors", folder / "ckpts" / f"{name}.safetensors")
    params = {"steps": 4, "cfg_strength": 2.0, "cfg_interval": [0.5, 1.0], "rescale_t": 3.0}
    models = {"sparse_structure_flow_model": "ckpts/ss_flow_tiny", "sparse_structure_decoder": "ckpts/ss_dec_tiny"}
    args = {"models": models, "sparse_structure_sampler": {"params": params}, "text_cond_tokens": 11}
    (folder / "pipeline.json").write_text(json.dumps({"name": "TrellisTextTo3DPipeline", "args": args}))
    return folder


def recipe(weights: Path, path: Path) -> Path:
    """The recipe of that checkpoint, written to `path`."""
    path.write_text(RECIPE.format(weights=weights))
    return path
