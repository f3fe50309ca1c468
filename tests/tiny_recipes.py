"""A tiny checkpoint and its recipe for every family, so that each can be built in seconds on a small machine.

    python tests/tiny_recipes.py FOLDER

A family's tests have a module `*_tiny.py` with `checkpoint(folder)` and `recipe(weights, path)`. Its checkpoint goes to
FOLDER/weights/FAMILY, its recipe, named FAMILY-tiny, to FOLDER/FAMILY.yaml; that lets cuda's programs go unmeasured.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path

TESTS = Path(__file__).parent
ENDING = "_tiny"
UNMEASURED = "targets:\n  cuda:\n    budgets.accept_unmeasured: true\n"


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
        recipe = module.recipe(module.checkpoint(weights), folder / f"{family}.yaml")
        text = re.sub(r"(?m)^name: .*$", f"name: {family.replace('_', '-')}-tiny", recipe.read_text())
        recipe.write_text(text if "\ntargets:" in text else text + UNMEASURED)
        made.append(recipe)
    return made


if __name__ == "__main__":
    print(*write(Path(sys.argv[1])), sep="\n")
