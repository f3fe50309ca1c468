"""A tiny checkpoint and its recipe for every family, so that each can be built in seconds on a small machine.

    python tests/tiny_recipes.py FOLDER

A family's tests have a module `*_tiny.py` with `checkpoint(folder)` and `recipe(weights, path)`, for which there is
`recipe` here. Its checkpoint goes to FOLDER/weights/FAMILY, its recipe, named FAMILY-tiny, to FOLDER/FAMILY.yaml; that
lets cuda's programs go unmeasured.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent
ENDING = "_tiny"
RECIPE = """\
schema: 2
name: {name}
summary: {summary}
family: {family}
weights: {weights}
knobs: {knobs}
golden:
  prompts: {prompts}
budgets:
  relative_l2: 1.0e-3
  relative_l2_fp32: 1.0e-3
  scores:
    {scores}
"""
UNMEASURED = "targets:\n  cuda:\n    budgets.accept_unmeasured: true\n"


def recipe(
    family: str,
    weights: Path,
    path: Path,
    summary: str,
    scores: str,
    knobs: str | Mapping[str, Any],
    name: str = "",
    prompts: str = "[first, second]",
) -> Path:
    """The recipe of a checkpoint, written to `path` and named like it where nothing else is said.

    Args:
        scores, knobs, prompts: YAML, e.g. `mesh: {f_score: 0.99}`.
    """
    asked = knobs if isinstance(knobs, str) else json.dumps(knobs)
    fields = {"family": family, "weights": weights, "summary": summary, "scores": scores, "prompts": prompts}
    path.write_text(RECIPE.format(name=name or path.stem, knobs=asked, **fields))
    return path


def modules() -> dict[str, Path]:
    """Family -> the module with its tiny checkpoint."""
    return {path.parent.name: path for path in sorted((TESTS / "families").glob(f"*/*{ENDING}.py"))}


def write(folder: Path) -> list[Path]:
    """The recipes of every family, written with their checkpoints."""
    sys.path[:0] = [str(TESTS), *(str(path.parent) for path in modules().values())]
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for family, path in modules().items():
        module = import_module(path.stem)
        (weights := folder.absolute() / "weights" / family).mkdir(parents=True, exist_ok=True)
        written = module.recipe(module.checkpoint(weights), folder / f"{family}.yaml")
        text = re.sub(r"(?m)^name: .*$", f"name: {family.replace('_', '-')}-tiny", written.read_text())
        written.write_text(text if "\ntargets:" in text else text + UNMEASURED)
        made.append(written)
    return made


if __name__ == "__main__":
    print(*write(Path(sys.argv[1])), sep="\n")
