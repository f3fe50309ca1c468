"""A pipeline that builds in seconds: TRELLIS's structure flow and decoder in the golden sets' sizes; features in, mesh
out. Its weights are those of the golden sets in tests/golden, in the released layout."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from safetensors.numpy import load_file, save_file

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


SHALLOW: dict[str, tuple[dict[str, int], dict[str, str]]] = {
    "ss_flow": ({"num_blocks": 1}, {"blocks.0.": "blocks.0."}),
    "ss_dec": (
        {"num_res_blocks": 1, "num_res_blocks_middle": 1},
        {f"blocks.{k}.": f"blocks.{j}." for j, k in enumerate((0, 2, 3, 5, 6))}
        | {"middle_block.0.": "middle_block.0."},
    ),
}
"""Golden set -> arguments of its network with one of blocks alike in a row, and which of its blocks that one has."""


def write(folder: Path, shallow: bool = False) -> Path:
    """Weights and recipe into a folder; the recipe's file.

    Args:
        shallow: one of blocks alike in a row.
    """
    (folder / "weights" / "ckpts").mkdir(parents=True)
    for name, source in (("ss_flow_tiny", "ss_flow"), ("ss_dec_tiny", "ss_dec")):
        place = folder / "weights" / "ckpts" / name
        config = json.loads((GOLDEN / source / "config.json").read_text())
        tensors = load_file(GOLDEN / source / "weights.safetensors")
        if shallow:
            arguments, kept = SHALLOW[source]
            config["args"] |= arguments
            tensors = {new: tensors[old] for old, new in _names(tensors, kept)}
        place.with_suffix(".json").write_text(json.dumps(config))
        save_file(tensors, place.with_suffix(".safetensors"))
    params = {"steps": 4, "cfg_strength": 2.0, "cfg_interval": [0.5, 1.0], "rescale_t": 3.0}
    models = {"sparse_structure_flow_model": "ckpts/ss_flow_tiny", "sparse_structure_decoder": "ckpts/ss_dec_tiny"}
    args = {"models": models, "sparse_structure_sampler": {"params": params}, "text_cond_tokens": CONDITION[0]}
    document = {"name": "TrellisTextTo3DPipeline", "args": args}
    (folder / "weights" / "pipeline.json").write_text(json.dumps(document))
    recipe = folder / "tiny.yaml"
    recipe.write_text(RECIPE.format(weights=folder / "weights"))
    return recipe


def _names(tensors: Iterable[str], kept: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(stored name, name in the shallow network) of what the shallow network has."""
    for name in tensors:
        block = re.match(r"(middle_)?blocks?\.\d+\.", name)
        if block is None:
            yield name, name
        elif block[0] in kept:
            yield name, kept[block[0]] + name.removeprefix(block[0])


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
