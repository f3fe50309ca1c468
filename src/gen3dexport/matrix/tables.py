"""The report of a matrix as tables: which recipe on which target, and what each cell took. Markdown and plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gen3dexport import __version__
from gen3dexport.matrix.results import Result, counted, exit_code

DASH = "–"
HEAD = ("cell", "status", "build, s", "size, MB", "peak memory, GB")
LEGEND = (
    "pass: built, run from disk in a fresh process, no budget missed. unmeasured: built and checked, and no device for "
    "it here. refused: the plan says no. failed: with its exit code. skipped: not tried. Build times are wall clock, "
    "with the stage cache as it was and whatever else ran; peak memory is of all processes of a build together, looked "
    "at each second."
)


def status(result: Result) -> str:
    """A status in a word or two."""
    code = f" ({result.exit_code})" if result.exit_code and result.status == "failed" else ""
    return f"{result.status}{', unmeasured' if result.unmeasured else ''}{code}"


def grid(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """The heading and the rows of the status table: a row for a recipe, a column for a target; reasons are numbered as
    `notes` gives them."""
    targets = list(dict.fromkeys(r.target for r in results))
    numbers = {text: i for i, text in enumerate(notes(results), 1)}
    cells = {(r.recipe, r.target): r for r in results}

    def text(recipe: str, target: str) -> str:
        found = cells.get((recipe, target))
        if found is None:
            return DASH
        return status(found) + (f" [{numbers[found.reason]}]" if found.reason else "")

    recipes = dict.fromkeys(r.recipe for r in results)
    return ["recipe", *targets], [[recipe, *(text(recipe, target) for target in targets)] for recipe in recipes]


def notes(results: Sequence[Result]) -> list[str]:
    """Every reason once, in order."""
    return list(dict.fromkeys(r.reason for r in results if r.reason))


def rows(results: Sequence[Result]) -> list[list[str]]:
    """A row under `HEAD` for each cell."""
    return [
        [
            r.name,
            status(r),
            DASH if r.seconds is None else f"{r.seconds:.0f}",
            DASH if r.size_bytes is None else f"{r.size_bytes / 1e6:.2f}",
            DASH if r.peak_bytes is None else f"{r.peak_bytes / 1e9:.2f}",
        ]
        for r in results
    ]


def markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    cells = [[part.replace("|", "\\|").replace("\n", " ") for part in line] for line in (head, *lines)]
    cells.insert(1, ["---"] * len(head))
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def to_markdown(results: Sequence[Result], made: Mapping[str, Any]) -> str:
    """The whole report."""
    reasons = [f"{i}. {' '.join(text.split())}" for i, text in enumerate(notes(results), 1)]
    parts = [
        "# Matrix",
        f"{len(results)} cells: {counted(results)}; {made_line(made)}.",
        markdown_table(*grid(results)),
        *(["\n".join(reasons)] if reasons else []),
        "## Cells",
        markdown_table(HEAD, rows(results)),
        LEGEND,
    ]
    return "\n\n".join(parts) + "\n"


def made_line(made: Mapping[str, Any]) -> str:
    """Where and when a matrix was built."""
    who, where, how = made["gen3dexport"], made["machine"], made["how"]
    return f"gen3dexport {who} on {where}, {how}, {made['seconds']:.0f} s, {made['date']}"


def to_json(results: Sequence[Result], made: Mapping[str, Any]) -> dict[str, Any]:
    """The whole report as data; `exit_code` is the command's."""
    own = {"gen3dexport": __version__, "made": dict(made), "exit_code": exit_code(results), "counts": counted(results)}
    return {**own, "cells": [r.model_dump(mode="json") for r in results]}
