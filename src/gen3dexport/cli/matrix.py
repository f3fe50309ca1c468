"""`gen3dexport matrix`: recipes on targets, each cell built in a process of its own, and one report."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gen3dexport.cli.app import Json, emit
from gen3dexport.errors import UsageError

if TYPE_CHECKING:
    from gen3dexport.matrix.cells import Cell
    from gen3dexport.matrix.one_cell import Work
    from gen3dexport.matrix.results import Result

EXAMPLE = "gen3dexport matrix --size tiny --targets executorch,onnx --jobs 2 -o matrix"
TARGETS = ("executorch-xnnpack", "tpu-v5e", "cuda-sm90", "cpu-aoti", "onnx")


class Size(StrEnum):
    """What the recipes' networks are."""

    tiny = "tiny"
    released = "released"
    recipe = "recipe"


def matrix(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="What to override in every recipe.", metavar="KEY=VALUE")
    ] = None,
    recipes: Annotated[
        list[str] | None,
        typer.Option("--recipes", help="Shipped recipes or YAML files, with commas (default: all shipped ones)."),
    ] = None,
    targets: Annotated[
        list[str] | None,
        typer.Option("--targets", help=f"Targets or YAML files, with commas (default: {','.join(TARGETS)})."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", help="So many cells at a time on this machine.")] = 1,
    ray: Annotated[
        str, typer.Option("--ray", help="Build on a Ray cluster: HOST:PORT, ray://HOST:PORT, auto or local.")
    ] = "",
    size: Annotated[
        Size,
        typer.Option(
            help="recipe: as it is. released: with random weights. tiny: every family's golden networks, in a checkout."
        ),
    ] = Size.recipe,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of bundles, logs and the report.")] = Path("matrix"),
    memory: Annotated[
        float, typer.Option("--memory", help="GB for all cells together (default: nine tenths of this machine's).")
    ] = 0.0,
    push: Annotated[
        str, typer.Option("--push", help="Send each bundle that passes to HOST[:PORT]/NAME/RECIPE-TARGET.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be built, build nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Build recipes on targets, each in a process of its own, and report on all of them.

    A second run in the same folder builds what is missing, failed or changed. Exit code 0: every cell passed, or was
    refused for a scheme that its target does not take; else the largest code of a cell.
    """
    _check(overrides or (), jobs, ray, memory)
    from gen3dexport.matrix.cells import make_cells
    from gen3dexport.matrix.one_cell import Work
    from gen3dexport.matrix.place import Place

    place = Place(out)
    place.check()
    threads = max(1, (os.cpu_count() or 1) // jobs) if jobs > 1 and not ray else 0
    work = Work(place, threads, push)
    assigned = [*(overrides or ()), *(["random_weights=true"] if size is Size.released else [])]
    with nullcontext() if dry_run and size is not Size.tiny else place.held():
        chosen = _recipes(size, _words(recipes), place.folder)
        cells = make_cells(chosen, _words(targets) or list(TARGETS), assigned)
        if push:
            _check_names(cells, work)
        if dry_run:
            _show_dry_run(cells, work, as_json)
            return
        results, made = _build(cells, work, jobs, ray, memory, as_json)
    _show(results, made, place.folder, as_json)


def _check(overrides: Sequence[str], jobs: int, ray: str, memory: float) -> None:
    """Refuse arguments that nothing can be made of, before any work."""
    problems = [
        f"{word}: recipes are named with --recipes, targets with --targets; overrides are written key=value"
        for word in overrides
        if "=" not in word
    ]
    if jobs < 1:
        problems.append(f"--jobs {jobs}: needs a whole number from 1 on; 1 builds one cell after the other")
    if ray and jobs != 1:
        problems.append("--jobs: is for this machine; the nodes of --ray build as many cells as they have CPUs for")
    if memory < 0:
        problems.append(f"--memory {memory}: needs GB, more than 0")
    if problems:
        raise UsageError.of(problems)
    if ray:
        from gen3dexport.matrix.on_ray import check_answers

        check_answers(ray)


def _words(values: Sequence[str] | None) -> list[str]:
    """What is named, with commas or in several options."""
    return [word.strip() for value in values or () for word in value.split(",") if word.strip()]


def _recipes(size: Size, named: list[str], folder: Path) -> list[str]:
    """The recipes to build; tiny ones are written into the folder first, where that is needed to read them."""
    from gen3dexport.documents.shipped import documents

    if size is not Size.tiny:
        return named or list(documents("recipes"))
    from gen3dexport.matrix.tiny import chosen, write

    made = write(folder / "recipes")
    return chosen(named, made) if named else [str(path) for path in made.values()]


def _check_names(cells: Sequence[Cell], work: Work) -> None:
    """Refuse a registry's name that no bundle can have."""
    from gen3dexport.registry.names import read_name

    for cell in cells:
        if cell.status is None:
            read_name(work.artifact(cell))


def _build(
    cells: Sequence[Cell], work: Work, jobs: int, ray: str, memory: float, quiet: bool
) -> tuple[list[Result], dict[str, Any]]:
    """Build the cells here or on a cluster; their results, and what the report says of how they were made."""
    from gen3dexport.matrix.build import build_matrix
    from gen3dexport.matrix.progress import progress

    with progress(cells, quiet) as shown:
        if ray:
            from gen3dexport.matrix.on_ray import Cluster

            cluster = Cluster(ray)
            try:
                results = build_matrix(cells, work, cluster.build, "on a Ray cluster", shown.on_change)
            finally:
                cluster.close()
        else:
            from gen3dexport.machine_memory import total
            from gen3dexport.matrix.here import build_here
            from gen3dexport.matrix.memory import Memory

            room = Memory(round(memory * 1e9) or total() * 9 // 10)
            how = f"{jobs} {'job' if jobs == 1 else 'jobs'}"
            build = lambda left, work, change: build_here(left, work, jobs, room, change)  # noqa: E731
            results = build_matrix(cells, work, build, how, shown.on_change)
    made = json.loads((work.place.folder / "matrix.json").read_text())
    return results, made


def _show_dry_run(cells: Sequence[Cell], work: Work, as_json: bool) -> None:
    """What would be done with each cell."""
    from gen3dexport.cli.text_table import show_rows
    from gen3dexport.matrix.build import kept

    rows = []
    for cell in cells:
        found = kept(cell, work)
        what = "build" if found is None else "keep" if found.status == "pass" else found.status
        rows.append((cell.name, what, cell.reason))
    if as_json:
        print(json.dumps([dict(zip(("cell", "what", "why"), row, strict=True)) for row in rows], indent=1))
    else:
        show_rows(("cell", "what", "why"), [(a, b, " ".join(c.split())) for a, b, c in rows])


def _show(results: Sequence[Result], made: dict[str, Any], folder: Path, as_json: bool) -> None:
    """The status table, reasons, and where the report lies."""
    from gen3dexport.cli.text_table import show_rows
    from gen3dexport.matrix.results import counted, exit_code
    from gen3dexport.matrix.tables import grid, notes

    if as_json:
        emit(True, made, "")
    else:
        show_rows(*grid(results))
        for i, text in enumerate(notes(results), 1):
            print(f"[{i}] {' '.join(text.split())}")
        print(f"{len(results)} cells: {counted(results)}; report: {folder / 'matrix.html'}")
    sys.stdout.flush()
    raise typer.Exit(exit_code(results))
