"""`gen3dexport doctor`: what is installed, what is missing, and the command that mends it."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gen3dexport.cli.app import Json

EXAMPLE = "gen3dexport doctor --target tpu"


def doctor(
    target: Annotated[str, typer.Option("--target", "-t", help="Only this target.")] = "", as_json: Json = False
) -> None:
    """Say what is installed, what is missing, and the command that mends it."""
    found = examine(target)
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        show_doctor(found)
    raise typer.Exit(3 if target and found["targets"][0]["missing"] else 0)


def examine(target: str = "") -> dict[str, Any]:
    """Versions, machine and, for each target (or the one named), what runs its programs here, what building them
    misses, and the extras that have it.

    Raises:
        UsageError: for an unknown target.
    """
    from gen3dexport import backends
    from gen3dexport.bundle.stage_cache import folder
    from gen3dexport.documents.shipped import documents
    from gen3dexport.plan import backend_options, read_target
    from gen3dexport.provenance import host, versions
    from gen3dexport.validation.foreign import foreign

    targets = [read_target(target)] if target else [read_target(name) for name in documents("targets")]
    rows = [
        {"name": t.name, "device": t.device, "missing": backends.find(t.backend).check(backend_options(t))}
        for t in targets
    ]
    for row, t in zip(rows, targets, strict=True):
        row["runtime"] = backends.runtime(backends.find(t.backend))
        row["extras"] = sorted({e for line in row["missing"] for e in re.findall(r"'gen3dexport\[(\w+)\]'", line)})
        other = f"no {t.machine} CPU" if foreign(t.model_dump(), platform.machine()) else None
        row["absent"] = (
            None if row["missing"] else backends.absent(backends.find(t.backend), backend_options(t)) or other
        )
    return {"versions": versions(), "host": host(), "stage_cache": str(folder()), "targets": rows}


def show_doctor(found: Mapping[str, Any]) -> None:
    """Versions, and for each target whether it can be built here."""
    from rich.text import Text

    from gen3dexport.cli.tables import columns, terminal

    console = terminal()
    console.print(", ".join(f"{k} {v}" for k, v in found["versions"].items()))
    console.print(f"{found['host']['processor']} ({found['host']['machine']}); stage cache {found['stage_cache']}")
    table = columns("target", "device", "state")
    for row in found["targets"]:
        table.add_row(row["name"], row["device"], Text(*_state(row)))
    console.print(table)


def _state(row: Mapping[str, Any]) -> tuple[str, str]:
    """What can be done with a target here, and its colour."""
    runs = f"runs bundles with {row['runtime']}" if row.get("runtime") else ""
    if row["missing"]:
        return "\n".join([f"{runs}; to build:"] * bool(runs) + row["missing"]), "yellow"
    if row["absent"] is not None:
        return f"ready to build; {row['absent']} here: latency stays unmeasured", "green"
    return "ready" + (f"; {runs}" if runs else ""), "green"
