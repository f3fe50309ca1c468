"""`gen3dexport plan`: what would be built."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gen3dexport.cli.app import Assignments, Json, Recipe, TargetName, plan_of

EXAMPLE = "gen3dexport plan trellis-mini --target tpu"


def plan(
    recipe: Recipe, target: TargetName = "executorch", assignments: Assignments = None, as_json: Json = False
) -> None:
    """Show what would be built, before any weight is read."""
    plan_ = plan_of(recipe, target, assignments or [])  # before torch is imported: a wrong recipe is told at once
    from gen3dexport.sizing import describe

    described = describe(plan_)
    if as_json:
        print(json.dumps(described, indent=1))
    else:
        show_plan(described)


def show_plan(plan: Mapping[str, Any]) -> None:
    """Components with their sizes, and operators the target cannot take."""
    from gen3dexport.cli.tables import columns, size_text, terminal

    console = terminal()
    console.print(
        f"[bold]{plan['recipe']}[/bold] on [bold]{plan['target']}[/bold] ({plan['backend']}, {plan['device']})"
    )
    table = columns("component", "scheme", "parameters", "bytes", "expected peak", "inputs")
    for c in plan["components"]:
        inputs = ", ".join(f"{k} {'x'.join(map(str, v))}" for k, v in c["inputs"].items())
        sizes = [size_text(c["bytes"]), size_text(c["expected_peak_bytes"])]
        table.add_row(c["name"], c["scheme"], f"{c['parameters'] / 1e6:.2f} M", *sizes, inputs)
    console.print(table)
    for c in plan["components"]:
        for pattern, scheme in c["rules"].items():
            console.print(f"{c['name']}: {pattern} {scheme}", markup=False)
    console.print(f"sizes are estimated from {plan['by']}")
    for name in plan["left_out"]:
        console.print(f"left out: {name} (its weights are not here; run takes --features)", markup=False)
    for c in plan["components"]:
        for operator, reason in c["unsupported"].items():
            console.print(f"[red]{c['name']}: {operator}: {reason}[/red]")
    for line in plan["missing"]:
        console.print(f"[yellow]missing here: {line}[/yellow]")
