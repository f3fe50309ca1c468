"""Golden sets of the reference implementation against this package: eager, and lowered for targets.

    python benchmarks/parity_table.py FAMILY GOLDEN_FOLDER [--target executorch ...] [--set slat_flow ...]

Every target runs in a process of its own (torchax changes torch for the whole process). What is compared, and how much
error is allowed, is `gen3dexport parity`'s; the table has the largest error of any output relative to that output's
largest value, and `benchmarks/results/parity.json` all of them. Sets of the host's work are for `eager` alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
from pathlib import Path
from typing import Any

import result_file
from rich.console import Console
from rich.table import Table

RESULT = Path(__file__).parent / "results" / "parity.json"
TARGETS = ("eager", "executorch", "tpu-v5e", "cpu-aoti", "onnx")


def compared(task: tuple[str, str, str, list[str]]) -> dict[str, Any]:
    """Results by set, in a process for one target."""
    from gen3dexport import models
    from gen3dexport.errors import GenExportError
    from gen3dexport.validation.golden_family import golden_family
    from gen3dexport.validation.parity import compare

    family, folder, target, names = task
    found: dict[str, Any] = {}
    for name in names:
        place = Path(folder) / name
        try:
            own = models.find(golden_family(family, place)).agreement()
            if target != "eager" and own.read(place).component is None:
                continue  # the host's work alone
            result = compare(family, place, None if target == "eager" else target, "fp32", None)
            found[name] = {key: result[key] for key in ("passed", "tolerance", "outputs")}
        except GenExportError as error:
            found[name] = {"passed": False, "error": str(error)}
    return found


def cell(found: dict[str, Any] | None) -> str:
    """The largest relative error, and whether it is too large."""
    if found is None:
        return ""
    if "error" in found:
        return "[red]error[/red]"
    worst = max(row["relative"] for row in found["outputs"])
    return f"{worst:.1e}" if found["passed"] else f"[red]{worst:.1e}[/red]"


def main() -> int:
    """Run, print the table, write the JSON; 1 when a set does not agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family")
    parser.add_argument("golden", type=Path)
    parser.add_argument("--target", action="append")
    parser.add_argument("--set", action="append")
    arguments = parser.parse_args()
    every = [path.parent.name for path in sorted(arguments.golden.glob("*/meta.json"))]
    rows: dict[str, Any] = result_file.read(RESULT).get("rows", {})
    names = arguments.set or every
    context = multiprocessing.get_context("spawn")
    for target in arguments.target or TARGETS:
        with context.Pool(1) as pool:
            for name, found in pool.apply(compared, [(arguments.family, str(arguments.golden), target, names)]).items():
                rows.setdefault(f"{arguments.family}/{name}", {})[target] = {**found, "made": result_file.stamp()}
        result_file.write(RESULT, __file__, {"rows": rows})
    targets = [target for target in TARGETS if any(target in row for row in rows.values())]
    table = Table("golden set", *targets)
    for name in sorted(rows):
        table.add_row(name, *(cell(rows[name].get(target)) for target in targets))
    Console(width=120).print(table)
    return 0 if all(found["passed"] for row in rows.values() for found in row.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
