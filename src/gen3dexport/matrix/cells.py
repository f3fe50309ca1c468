"""The cells of a matrix: each a recipe on a target, with what a plan refuses, and the digest of all that goes in."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from gen3dexport import models
from gen3dexport.bundle import stage_cache
from gen3dexport.bundle.files import digest
from gen3dexport.documents.recipe import Recipe
from gen3dexport.documents.target import Target
from gen3dexport.errors import GenExportError, MissingError, RefusedError, UsageError
from gen3dexport.matrix.results import Result, Status
from gen3dexport.models.weights import files_of
from gen3dexport.plan import Plan, make_plan, read_recipe, read_target, require_ready
from gen3dexport.provenance import host, versions


@dataclass(frozen=True)
class Cell:
    """One recipe on one target.

    Attributes:
        recipe, target: their names; arguments: what `gen3dexport build` is given, without its output.
        digest: SHA-256 of recipe, target, weights, versions, machine and code: a bundle with the same one is not built
            again. Of a cell that is not built: of its words. networks: of the networks alone, whatever their schemes.
        status, exit_code, reason: what is decided before anything is built; None where it is to be built.
    """

    recipe: str
    target: str
    arguments: tuple[str, ...]
    digest: str = ""
    networks: str = ""
    status: Status | None = None
    exit_code: int = 0
    reason: str = ""

    @property
    def name(self) -> str:
        """The name of its bundle."""
        return f"{self.recipe}-{self.target}"

    def result(self, status: Status, exit_code: int = 0, reason: str = "", **found: Any) -> Result:
        """What became of it."""
        who: dict[str, Any] = {"name": self.name, "recipe": self.recipe, "target": self.target, "digest": self.digest}
        return Result(status=status, exit_code=exit_code, reason=reason, **found, **who)


def make_cells(recipes: Sequence[str], targets: Sequence[str], overrides: Sequence[str] = ()) -> list[Cell]:
    """Every recipe on every target, in that order.

    Args:
        recipes: shipped names, or YAML files; targets: these too, or aliases.
        overrides: `key=value` for every recipe.

    Raises:
        UsageError: with every problem: a recipe or a target that is unknown or cannot be read, or given twice.
    """
    problems: list[str] = []
    read: list[tuple[str, Recipe]] = []
    for name in recipes:
        try:
            read.append((name, read_recipe(name, None, overrides)))
        except UsageError as error:
            problems.append(str(error))
    known: list[tuple[str, Target]] = []
    for name in targets:
        try:
            known.append((name, read_target(name)))
        except UsageError as error:
            problems.append(str(error))
    problems += _twice("recipe", [(argument, recipe.name) for argument, recipe in read])
    problems += _twice("target", [(argument, target.name) for argument, target in known])
    if problems:
        raise UsageError.of(problems)
    cells = [_cell(a, r.name, b, t, overrides) for a, r in read for b, t in known]
    problems = _twice("cell", [(f"{cell.recipe} on {cell.target}", cell.name) for cell in cells])
    if problems:  # recipe a-b on target c, and recipe a on target b-c
        raise UsageError.of(problems)
    return cells


def _twice(what: str, given: Sequence[tuple[str, str]]) -> list[str]:
    """A problem for each name that several arguments have."""
    counts = Counter(name for _, name in given)
    problems = []
    for name in (name for name, count in counts.items() if count > 1):
        which = ", ".join(argument for argument, other in given if other == name)
        problems.append(f"{what} {name}: given {counts[name]} times ({which}); its bundles would have one name")
    return problems


def _cell(recipe: str, name: str, argument: str, target: Target, overrides: Sequence[str]) -> Cell:
    """One cell, planned without torch."""
    cell = Cell(name, target.name, (recipe, *overrides, "--target", argument))
    try:
        plan = make_plan(read_recipe(recipe, target, overrides), target)
        require_ready(plan)
        return replace(cell, digest=_digest(plan), networks=_networks(plan))
    except (GenExportError, OSError) as error:
        return decided(cell, error)


def decided(cell: Cell, error: Exception) -> Cell:
    """A cell that is not built, for a plan's error: refused, or skipped where something is missing here."""
    status: Status = "skipped" if isinstance(error, MissingError) else "refused"
    code = 0 if isinstance(error, RefusedError) else getattr(error, "exit_code", 1)
    reason = str(error)
    return replace(
        cell, digest=hashlib.sha256(reason.encode()).hexdigest(), status=status, exit_code=code, reason=reason
    )


def _digest(plan: Plan) -> str:
    """SHA-256 of all that goes into a bundle."""
    parts = {
        "recipe": plan.recipe.model_dump(mode="json", by_alias=True),
        "target": plan.target.model_dump(mode="json"),
        "settings": plan.settings.model_dump(mode="json"),
        "weights": {} if plan.recipe.random_weights else _weights(plan),
        "versions": _versions(),
        "host": host(),
    }
    return stage_cache.key(json.loads(json.dumps(parts, default=str)), plan.backend, models.package(plan.recipe.family))


def _networks(plan: Plan) -> str:
    """SHA-256 of what decides shapes and operators."""
    parts = [plan.recipe.family, str(plan.weights), plan.settings.model_dump(mode="json"), sorted(plan.declared)]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


@cache
def _versions() -> dict[str, str]:
    return versions()


def _weights(plan: Plan) -> dict[str, str]:
    """SHA-256 of every file of the checkpoint by its path."""
    stems = {plan.weights / declared.checkpoint for declared in plan.declared.values()}
    paths = {path for stem in stems for path in files_of(stem)}
    return {str(p.relative_to(plan.weights)): _digest_of(p) for p in sorted(paths)}


def _digest_of(path: Path) -> str:
    """SHA-256 of a file, computed once while it is as it is."""
    found = path.stat()
    return _digest_once(path, found.st_mtime_ns, found.st_size)


@cache
def _digest_once(path: Path, changed: int, size: int) -> str:
    return digest(path)
