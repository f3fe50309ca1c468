"""Tiny recipes of every family, out of a checkout's tests: each cell of a matrix of them takes a minute or less."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from gen3dexport.children import of_this_process
from gen3dexport.documents.document import read_yaml
from gen3dexport.documents.shipped import did_you_mean, documents, shipped
from gen3dexport.errors import GenExportError, MissingError, UsageError


def write(folder: Path) -> dict[str, Path]:
    """Family -> its tiny recipe, written into `folder` with its checkpoint.

    Raises:
        MissingError: outside a checkout.
    """
    script = shipped("recipes").parent / "tests" / "tiny_recipes.py"
    if not script.is_file():
        raise MissingError(
            "--size tiny: the tiny checkpoints lie in a checkout's tests, and this package is installed without them; "
            "run it in a checkout"
        )
    command = [sys.executable, str(script), str(folder)]
    made = subprocess.run(command, env=of_this_process(os.environ), capture_output=True, text=True)
    if made.returncode:
        raise GenExportError(f"{script}: ended with exit code {made.returncode}: {made.stderr.strip()[-600:]}")
    return {path.stem: path for path in map(Path, made.stdout.splitlines())}


def chosen(names: Sequence[str], recipes: dict[str, Path]) -> list[str]:
    """The recipes of the families that are named: by themselves, or by a shipped recipe of theirs.

    Raises:
        UsageError: for an unknown name.
    """
    shipped_ones = documents("recipes")
    found, problems = [], []
    for name in names:
        family = name.replace("-", "_")
        if family not in recipes and name in shipped_ones:
            family = str(read_yaml(shipped_ones[name])["family"]).replace("-", "_")
        if family in recipes:
            found.append(str(recipes[family]))
        else:
            known = did_you_mean(name, {*recipes, *shipped_ones})
            problems.append(f"--recipes {name}: no family with a tiny checkpoint{known}")
    if problems:
        raise UsageError.of(problems)
    return found
