"""`gen3dexport plan`: what would be built."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gen3dexport.cli.app import Json, RecipeAndOverrides, TargetName, plan_of, split_arguments

EXAMPLE = "gen3dexport plan trellis-mini --target tpu"


def plan(arguments: RecipeAndOverrides = None, target: TargetName = "executorch", as_json: Json = False) -> None:
    """Show what would be built, before any weight is read."""
    recipe, assignments = split_arguments(arguments)
    plan_ = plan_of(recipe, target, assignments)  # before torch is imported: a wrong recipe is told at once
    from gen3dexport.sizing import describe

    described = describe(plan_)
    if as_json:
        print(json.dumps(described, indent=1))
    else:
        show_plan(described)


HEAD = ("component", "scheme", "parameters, M", "weights, MB", "expected peak, MB", "basis")


def show_plan(plan: Mapping[str, Any]) -> None:
    """Components with their sizes, and operators the target cannot take."""
    from gen3dexport.cli.tables import terminal
    from gen3dexport.cli.text_table import show_rows
    from gen3dexport.reports.text import number

    console = terminal()
    console.print(
        f"[bold]{plan['recipe']}[/bold] on [bold]{plan['target']}[/bold] ({plan['backend']}, {plan['device']})"
    )
    rows = []
    for c in plan["components"]:
        sizes = (number(c[key] / 1e6, 4) for key in ("parameters", "bytes", "expected_peak_bytes"))
        rows.append((c["name"], c["scheme"], *sizes, plan["basis"]))
    show_rows(HEAD, rows)
    console.print(f"sizes are estimated from {plan['by']}")
    for c in plan["components"]:
        inputs = ", ".join(f"{k} {'x'.join(map(str, v))}" for k, v in c["inputs"].items())
        console.print(f"{c['name']} takes: {inputs}", markup=False)
        for pattern, scheme in c["rules"].items():
            console.print(f"{c['name']}: {pattern} {scheme}", markup=False)
    for name in plan["left_out"]:
        console.print(f"left out: {name} (its weights are not here; run takes --features)", markup=False)
    for c in plan["components"]:
        for operator, reason in c["unsupported"].items():
            console.print(f"[red]{c['name']}: {operator}: {reason}[/red]")
    for line in plan["missing"]:
        console.print(f"[yellow]missing here: {line}[/yellow]")
