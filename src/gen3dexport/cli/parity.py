"""`gen3dexport parity`: a component against golden data of the reference implementation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from gen3dexport.cli.app import Json
from gen3dexport.errors import UsageError

EXAMPLE = "gen3dexport parity trellis tests/golden/trellis/ss_flow --target executorch"


def parity(
    family: Annotated[str, typer.Argument(help="A model family.", metavar="FAMILY")],
    folder: Annotated[Path, typer.Argument(help="A golden folder.", metavar="FOLDER")],
    target: Annotated[str, typer.Option("--target", "-t", help="Run it through this target's lowered program.")] = "",
    scheme: Annotated[str, typer.Option(help="Quantization scheme, with --target.")] = "fp32",
    tolerance: Annotated[
        float | None, typer.Option(min=0, help="Relative error allowed (default by what is compared).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare a family's component with golden data of the reference implementation."""
    if not target and scheme != "fp32":
        raise UsageError(f"--scheme {scheme}: needs --target; without it the network runs eagerly in fp32")
    from gen3dexport.validation.parity import compare

    result = compare(family, folder, target or None, scheme, tolerance)
    if as_json:
        print(json.dumps(result, indent=1))
    else:
        show_parity(result)
    raise typer.Exit(0 if result["passed"] else 5)


def show_parity(result: Mapping[str, Any]) -> None:
    """Error of each output and the verdict."""
    from gen3dexport.cli.tables import terminal
    from gen3dexport.cli.text_table import show_rows

    console = terminal()
    errors = ("max_abs", "relative", "relative_l2")
    rows = [(row["output"], *(f"{row[key]:.2e}" for key in errors), "measured") for row in result["outputs"]]
    show_rows(("output", "largest error", "relative to the output's largest value", "relative L2", "basis"), rows)
    verdict = "[green]within[/green]" if result["passed"] else "[red]outside[/red]"
    console.print(
        f"{result['golden']} through {result['target']} ({result['scheme']}): {verdict} {result['tolerance']:g}"
    )
    for row in result["outputs"]:
        if row["allowed"] > result["tolerance"]:
            console.print(f"{row['output']}: {row['allowed']:g} allowed, its reference is not exact", markup=False)
