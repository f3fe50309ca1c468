"""`gen3dexport tune`: the search for which layers to quantize, and how seldom a sampler may call its network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from gen3dexport.cli.app import Json, RecipeAndOverrides, TargetName, plan_of, require_folder, split_arguments

EXAMPLE = "gen3dexport tune trellis-mini --target executorch --max-loss 0.01 --minimize size"


def tune(
    arguments: RecipeAndOverrides = None,
    target: TargetName = "executorch",
    max_loss: Annotated[float, typer.Option(min=0, help="Allowed loss of the assets against the float32 ones.")] = 0.01,
    minimize: Annotated[str, typer.Option(help="size, latency or memory.")] = "size",
    candidates: Annotated[
        int, typer.Option(min=1, help="Mixtures that are built and measured, and as many settings of samplers.")
    ] = 5,
    schemes_only: Annotated[
        bool, typer.Option("--schemes-only", help="Leave samplers as the recipe has them (latency).")
    ] = False,
    held_out: Annotated[
        Path | None,
        typer.Option(
            help="Prompts, one a line, that the choice has to keep the loss on and no trial sees.", metavar="FILE"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The recipe (default RECIPE-TARGET.yaml); .html and .json beside."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Search which layers to quantize, and write the recipe that does, with the evidence beside it.

    Sensitivities and greedy search run on the eager model; uniform schemes, and mixtures from the furthest back, are
    then built and measured from disk (estimated, where the target's device is not here and its backend has a cost
    model). For latency, settings of samplers that call a network less are searched as well, and joined with the
    schemes; the choice keeps the loss on held-out prompts, too: those of FILE, else captions that the weights were not
    trained on, else the recipe's calibration prompts where nothing is calibrated with them.
    """
    recipe, assignments = split_arguments(arguments)
    plan_ = plan_of(recipe, target, assignments)  # before torch is imported: a wrong recipe is told at once
    from gen3dexport.cli.tables import stages
    from gen3dexport.cli.text_table import show_rows
    from gen3dexport.plan import require_ready
    from gen3dexport.search.held_out import held_out as held_out_prompts
    from gen3dexport.search.sampler_knobs import samplers

    path = out or Path(f"{plan_.recipe.name}-{plan_.target.name}.yaml")
    require_folder(path)
    require_ready(plan_)
    resamples = minimize == "latency" and not schemes_only and bool(samplers(plan_))
    held = held_out_prompts(plan_, held_out) if resamples or held_out is not None else None
    from gen3dexport.search.candidates import Goal
    from gen3dexport.search.page import tune_html
    from gen3dexport.search.tune import cells, head
    from gen3dexport.search.tune import tune as search
    from gen3dexport.search.tuned_recipe import tuned_recipe

    goal = Goal(minimize, max_loss, candidates, resamples, held)
    with stages(list(plan_.schemes), quiet=as_json) as on_stage:
        result = search(plan_, goal, on_stage)
    text = tuned_recipe(recipe, assignments, result, list(plan_.schemes))
    rows = [cells(c, result) for c in result.candidates]
    path.write_text(text, encoding="utf-8")
    path.with_suffix(".json").write_text(result.model_dump_json(by_alias=True, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".html").write_text(tune_html(result, head(result), rows, text), encoding="utf-8")
    if as_json:
        print(json.dumps({**result.model_dump(mode="json", by_alias=True), "path": str(path)}, indent=1))
        return
    show_rows(head(result), rows)
    gain = f"{100 * result.gain:.0f}% below the best uniform choice ({result.best_uniform})"
    print(f"{path}: {result.chosen}, {gain}; evidence: {path.with_suffix('.html')}")
    print(f"next:   gen3dexport build {path} --target {plan_.target.name}")
