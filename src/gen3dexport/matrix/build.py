"""A whole matrix: what is there already is kept, the rest is built, and the report is written whatever happens."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from gen3dexport import __version__
from gen3dexport.disk import write_atomically
from gen3dexport.matrix.cells import Cell
from gen3dexport.matrix.here import OnChange, interrupted
from gen3dexport.matrix.junit import to_junit
from gen3dexport.matrix.one_cell import Work, push_cell
from gen3dexport.matrix.page import render_html
from gen3dexport.matrix.place import MARKER, Place
from gen3dexport.matrix.results import Result
from gen3dexport.matrix.tables import to_json, to_markdown
from gen3dexport.provenance import host

Build = Callable[[Sequence[Cell], Work, OnChange], object]
"""Builds cells, and tells each one's result."""


def kept(cell: Cell, work: Work) -> Result | None:
    """What is known of a cell without building it: its plan's refusal, or a whole bundle of the same digest."""
    if cell.status is not None:
        return cell.result(cell.status, cell.exit_code, cell.reason)
    return work.place.finished(cell.name, cell.digest)


def build_matrix(cells: Sequence[Cell], work: Work, build: Build, how: str, on_change: OnChange) -> list[Result]:
    """What became of every cell, in their order; the reports are written into the matrix's folder.

    Args:
        build: builds the cells that are left.
        how: for the report, how many at a time.

    Raises:
        Interrupted: after the reports of what is there were written.
    """
    begun, place = time.monotonic(), work.place
    results: dict[str, Result] = {}

    def change(cell: Cell, now: str | Result) -> None:
        if isinstance(now, Result):
            results[cell.name] = now
            if now.attempts:
                place.keep(now)
        on_change(cell, now)

    left = []
    try:
        for cell in cells:
            found = kept(cell, work)
            if found is None:
                place.forget_attempts(cell.name)
                left.append(cell)
            elif work.push and found.status == "pass" and found.pushed != work.artifact(cell):
                change(cell, push_cell(cell, work, found))
            else:
                results[cell.name] = found
                on_change(cell, found)
        if left:
            build(left, work, change)
    finally:
        told = [results.get(cell.name) or interrupted(cell) for cell in cells]
        write_reports(place, told, {**made(how), "seconds": round(time.monotonic() - begun, 1)})
    return told


def made(how: str) -> dict[str, Any]:
    """Where and when a matrix is built."""
    here = host()
    machine = f"{here['processor'] or platform.machine()} ({here['system']} {here['machine']})"
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"gen3dexport": __version__, "machine": machine, "how": how, "date": now}


def write_reports(place: Place, results: Sequence[Result], made: dict[str, Any]) -> None:
    """matrix.json, .md, .html and .xml."""
    texts = {
        MARKER: json.dumps(to_json(results, made), indent=1) + "\n",
        "matrix.md": to_markdown(results, made),
        "matrix.html": render_html(results, made),
        "matrix.xml": to_junit(results),
    }
    for name, text in texts.items():
        write_atomically(place.folder / name, text.encode())
