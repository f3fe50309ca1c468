"""A pipeline that builds in seconds: TRELLIS's structure flow and decoder in the golden sets' sizes; features in, mesh
out. Its weights are those of the golden sets in tests/golden, in the released layout."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "trellis"
COMPONENTS = ("flow", "decoder")
CONDITION = (11, 48)
"""Tokens and width of the features that it takes."""

RECIPE = """\
schema: 2
name: tiny
summary: the golden sets' networks as a pipeline; features in, mesh out
family: trellis
weights: {weights}
golden:
  prompts: [a ball]
budgets:
  relative_l2: 0.05
  relative_l2_fp32: 0.1
  scores: {{voxels: {{iou: 0.5}}}}
"""
TARGET = """\
name: {name}
summary: {base}, timed once
backend: {backend}
device: this machine
options: {options}
measure: {{warmup: 0, runs: 1, threads: 1}}
"""


def write(folder: Path) -> Path:
    """Weights and recipe into a folder; the recipe's file."""
    (folder / "weights" / "ckpts").mkdir(parents=True)
    for name, source in (("ss_flow_tiny", "ss_flow"), ("ss_dec_tiny", "ss_dec")):
        place = folder / "weights" / "ckpts" / name
        shutil.copyfile(GOLDEN / source / "config.json", place.with_suffix(".json"))
        shutil.copyfile(GOLDEN / source / "weights.safetensors", place.with_suffix(".safetensors"))
    params = {"steps": 4, "cfg_strength": 2.0, "cfg_interval": [0.5, 1.0], "rescale_t": 3.0}
    models = {"sparse_structure_flow_model": "ckpts/ss_flow_tiny", "sparse_structure_decoder": "ckpts/ss_dec_tiny"}
    args = {"models": models, "sparse_structure_sampler": {"params": params}, "text_cond_tokens": CONDITION[0]}
    document = {"name": "TrellisTextTo3DPipeline", "args": args}
    (folder / "weights" / "pipeline.json").write_text(json.dumps(document))
    recipe = folder / "tiny.yaml"
    recipe.write_text(RECIPE.format(weights=folder / "weights"))
    return recipe


def target(folder: Path, name: str) -> Path:
    """A shipped target with one timed run, as a file in `folder`."""
    from gen3dexport.plan import read_target

    found = read_target(name)
    path = folder / f"{found.name}-once.yaml"
    values = {"name": f"{found.name}-once", "base": found.name, "backend": found.backend}
    path.write_text(TARGET.format(**values, options=json.dumps(found.options)))
    return path


def environment(folder: Path) -> dict[str, str]:
    """The environment of commands of this checkout, with caches and temporary files of their own in `folder`.

    Compilers are set to be quick: what that changes is the speed of the program's own calls.
    """
    own = {"GEN3DEXPORT_CACHE": folder / "cache", "TMPDIR": folder / "tmp", "PYTHONPATH": ROOT / "src"}
    own |= {"TORCHINDUCTOR_CACHE_DIR": folder / "inductor"}
    for name in ("cache", "tmp", "inductor"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    quick = {"OMP_NUM_THREADS": "1", "AOT_INDUCTOR_COMPILE_WRAPPER_OPT_LEVEL": "O0", "PYTHONUNBUFFERED": "1"}
    return {**os.environ, **{name: str(path) for name, path in own.items()}, **quick}
