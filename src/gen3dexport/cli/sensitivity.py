"""`gen3dexport sensitivity`: what each layer costs when it alone is quantized."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gen3dexport.cli.app import Json, RecipeAndOverrides, TargetName, plan_of, split_arguments

EXAMPLE = "gen3dexport sensitivity trellis-mini --target executorch -o flow-layers.html"


def sensitivity(
    arguments: RecipeAndOverrides = None,
    target: TargetName = "executorch",
    component: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this component; may be given again.")
    ] = None,
    scheme: Annotated[
        list[str] | None,
        typer.Option(metavar="SCHEME", help="Try this scheme (default the recipe's, else all of the target)."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write this page, with plots.")] = None,
    as_json: Json = False,
) -> None:
    """Quantize each layer alone and show what that costs, at the component's output and in the asset.

    Runs the eager model with the target's own quantization; nothing is lowered.
    """
    recipe, assignments = split_arguments(arguments)
    plan_ = plan_of(recipe, target, assignments)  # before torch is imported: a wrong recipe is told at once
    from gen3dexport.cli.tables import stages
    from gen3dexport.cli.text_table import show_rows
    from gen3dexport.plan import require_ready
    from gen3dexport.search.sensitivity import HEAD, cells, check_asked
    from gen3dexport.search.sensitivity import sensitivity as measure
    from gen3dexport.search.trials import Trials

    check_asked(plan_, component or (), scheme or ())
    require_ready(plan_)
    with stages(list(plan_.schemes), quiet=as_json) as on_stage:
        result = measure(Trials(plan_, on_stage), component or (), scheme or (), on_stage)
    rows = [cells(row) for row in result.rows]
    if out is not None:
        from gen3dexport.search.page import sensitivity_html

        out.write_text(sensitivity_html(result, HEAD, rows), encoding="utf-8")
    if as_json:
        print(result.model_dump_json(by_alias=True, indent=1))
    else:
        show_rows(HEAD, rows)
        print(f"loss: {result.loss}" + (f"; page: {out}" if out else ""))
