"""Commands that compare and search: parity, compare, sensitivity, tune."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from gen3dexport.cli.app import Assignments, Json, Recipe, TargetName, app, plan_of


@app.command(epilog="Example: gen3dexport parity trellis tests/golden/trellis/ss_flow --target executorch")
def parity(
    family: Annotated[str, typer.Argument(help="A model family.", metavar="FAMILY")],
    folder: Annotated[Path, typer.Argument(help="A golden folder.", metavar="DIR")],
    target: Annotated[str, typer.Option("--target", "-t", help="Run it through this target's lowered program.")] = "",
    scheme: Annotated[str, typer.Option(help="Quantization scheme, with --target.")] = "fp32",
    tolerance: Annotated[
        float | None, typer.Option(help="Relative error allowed (default by what is compared).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare a family's component with golden data of the reference implementation."""
    from gen3dexport.cli.show import show_parity
    from gen3dexport.validation.parity import compare

    result = compare(family, folder, target or None, scheme, tolerance)
    if as_json:
        print(json.dumps(result, indent=1))
    else:
        show_parity(result)
    raise typer.Exit(0 if result["passed"] else 5)


@app.command(
    epilog="Example: gen3dexport compare main-bundle pull-bundle --max-latency-increase 5% --max-quality-loss 0.01"
)
def compare(
    a: Annotated[Path, typer.Argument(help="What was: a validated bundle or its report.json.", metavar="A")],
    b: Annotated[Path, typer.Argument(help="What is now.", metavar="B")],
    max_latency_increase: Annotated[str, typer.Option(help="Of one asset, e.g. 5% or 0.05.")] = "",
    max_size_increase: Annotated[str, typer.Option(help="Of programs and weights.")] = "",
    max_memory_increase: Annotated[str, typer.Option(help="Of any program's peak.")] = "",
    max_quality_loss: Annotated[str, typer.Option(help="Of mean IoU and mean F-score, e.g. 0.01 or 1%.")] = "",
    accept_estimates: Annotated[
        bool, typer.Option("--accept-estimates", help="Judge two estimates by one cost model.")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown for a pull-request comment.")] = False,
    as_json: Json = False,
) -> None:
    """Compare two bundles or reports; fail where B is worse than A by more than a threshold.

    Exit code 5: lost quality; 6: grew or slowed down; 7: a report that cannot be read; 8: a threshold that could not be
    judged. Measured and estimated numbers are shown side by side and never judged against each other.
    """
    from gen3dexport.cli.show import show_comparison
    from gen3dexport.reports import compare as comparing

    options = {
        "latency": (max_latency_increase, "--max-latency-increase"),
        "size": (max_size_increase, "--max-size-increase"),
        "memory": (max_memory_increase, "--max-memory-increase"),
        "quality": (max_quality_loss, "--max-quality-loss"),
    }
    limits = {key: comparing.share(text, name) for key, (text, name) in options.items() if text}
    thresholds = comparing.Thresholds(**limits, accept_estimates=accept_estimates)
    found = comparing.compare(comparing.read_report(a), comparing.read_report(b), thresholds)
    if as_json or markdown:
        print(json.dumps(found, indent=1) if as_json else comparing.to_markdown(found))
    else:
        show_comparison(found)
    raise typer.Exit(comparing.exit_code(found))


@app.command(epilog="Example: gen3dexport sensitivity trellis-mini --target executorch -o flow-layers.html")
def sensitivity(
    recipe: Recipe,
    target: TargetName = "executorch",
    assignments: Assignments = None,
    component: Annotated[list[str] | None, typer.Option(help="Only this component; may be given again.")] = None,
    scheme: Annotated[
        list[str] | None, typer.Option(help="Try this scheme (default the recipe's, else all of the target).")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write this page, with plots.")] = None,
    as_json: Json = False,
) -> None:
    """Quantize each layer alone and show what that costs, at the component's output and in the asset.

    Runs the eager model with the target's own quantization; nothing is lowered.
    """
    from gen3dexport.cli.show import show_rows, stages
    from gen3dexport.plan import require_ready
    from gen3dexport.search.sensitivity import HEAD, cells
    from gen3dexport.search.sensitivity import sensitivity as measure
    from gen3dexport.search.trials import Trials

    plan_ = plan_of(recipe, target, assignments or [])
    require_ready(plan_)
    with stages(list(plan_.schemes), quiet=as_json) as on_stage:
        result = measure(Trials(plan_, on_stage), component or (), scheme or (), on_stage)
    rows = [cells(row) for row in result["rows"]]
    if out is not None:
        from gen3dexport.search.page import sensitivity_html

        out.write_text(sensitivity_html(result, HEAD, rows), encoding="utf-8")
    if as_json:
        print(json.dumps(result, indent=1))
    else:
        show_rows(HEAD, rows)
        print(f"loss: {result['loss']}" + (f"; page: {out}" if out else ""))


@app.command(epilog="Example: gen3dexport tune trellis-mini --target executorch --max-loss 0.01 --minimize size")
def tune(
    recipe: Recipe,
    target: TargetName = "executorch",
    assignments: Assignments = None,
    max_loss: Annotated[float, typer.Option(help="Allowed 1 - mean IoU against the float32 assets.")] = 0.01,
    minimize: Annotated[str, typer.Option(help="size, latency or memory.")] = "size",
    candidates: Annotated[int, typer.Option(min=1, help="Mixtures that are built and measured.")] = 5,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The recipe (default RECIPE-TARGET.yaml); .html and .json beside."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Search which layers to quantize, and write the recipe that does, with the evidence beside it.

    Sensitivities and greedy search run on the eager model; uniform schemes, and mixtures from the furthest back, are
    then built and measured from disk (estimated, where the target's device is not here and its backend has a cost
    model).
    """
    from gen3dexport.cli.show import show_rows, stages
    from gen3dexport.plan import require_ready
    from gen3dexport.search.page import tune_html
    from gen3dexport.search.tune import HEAD, Goal, cells
    from gen3dexport.search.tune import tune as search
    from gen3dexport.search.tuned_recipe import tuned_recipe

    plan_ = plan_of(recipe, target, assignments or [])
    require_ready(plan_)
    with stages(list(plan_.schemes), quiet=as_json) as on_stage:
        result = search(plan_, Goal(minimize, max_loss, candidates), on_stage)
    path = out or Path(f"{plan_.recipe.name}-{plan_.target.name}.yaml")
    text = tuned_recipe(recipe, assignments or [], result, list(plan_.schemes))
    rows = [cells(c, result) for c in result["candidates"]]
    path.write_text(text, encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".html").write_text(tune_html(result, HEAD, rows, text), encoding="utf-8")
    if as_json:
        print(json.dumps(result | {"path": str(path)}, indent=1))
        return
    show_rows(HEAD, rows)
    gain = f"{100 * result['gain']:.0f}% below the best uniform choice ({result['best_uniform']})"
    print(f"{path}: {result['chosen']}, {gain}; evidence: {path.with_suffix('.html')}")
    print(f"next:   gen3dexport build {path} --target {plan_.target.name}")
