"""`gen3dexport build`: a recipe on a target into a bundle, and its validation."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from gen3dexport.cli.app import Json, RecipeAndOverrides, TargetName, emit, plan_of, split_arguments
from gen3dexport.errors import UsageError

if TYPE_CHECKING:
    from gen3dexport.plan import Plan
    from gen3dexport.reports.records import Report

EXAMPLE = "gen3dexport build trellis-mini --target executorch -o chair-maker"


def build(
    arguments: RecipeAndOverrides = None,
    target: TargetName = "executorch",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The bundle's folder (default RECIPE-TARGET).")
    ] = None,
    random_weights: Annotated[bool, typer.Option(help="Random weights, for sizing only.")] = False,
    skip_validation: Annotated[bool, typer.Option(help="Do not validate the bundle after building it.")] = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Read weights from a pickle too: its tensors only, never its code.")
    ] = False,
    check_reproducible: Annotated[
        bool,
        typer.Option("--check-reproducible", help="Build twice, list every byte that differs, and keep no bundle."),
    ] = False,
    trace: Annotated[
        Path | None,
        typer.Option("--trace", help="A new folder for torch's trace of exports and compiles.", metavar="DIR"),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, help="Components built at a time (default: by cores and memory)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Build a bundle for a target and validate it from disk."""
    asked = (arguments, target, out, random_weights, skip_validation, allow_pickle, check_reproducible, as_json)
    if trace is None:
        _build(*asked, jobs)
        return
    if jobs not in (None, 1):
        raise UsageError("--trace: torch's trace is of this process alone; leave --jobs out")
    if check_reproducible:
        raise UsageError("--check-reproducible: builds in processes of its own; leave --trace out")
    from gen3dexport.profiling import compile_trace

    compile_trace.check(trace)
    try:
        with compile_trace.tracing(trace):
            _build(*asked, jobs=1)
    finally:
        page = trace / compile_trace.PAGES / "index.html"
        found = f"trace:  {page}" if page.is_file() else f"{trace}: no trace, for torch exported and compiled nothing"
        print(found, file=sys.stderr)


def _build(
    arguments: list[str] | None,
    target: str,
    out: Path | None,
    random_weights: bool,
    skip_validation: bool,
    allow_pickle: bool,
    check_reproducible: bool,
    as_json: bool,
    jobs: int | None,
) -> None:
    recipe, assignments = split_arguments(arguments)
    assignments += ["random_weights=true"] if random_weights else []
    plan_ = plan_of(recipe, target, assignments, allow_pickle)
    if check_reproducible:
        if out is not None:
            raise UsageError("--check-reproducible: keeps no bundle; leave -o out")
        _check_reproducible(plan_, [recipe, *assignments, "--target", target], as_json)
    folder = out or Path(f"{plan_.recipe.name}-{plan_.target.name}")
    from gen3dexport.bundle.drafts import check_out

    check_out(folder)
    from gen3dexport.build import build as build_bundle
    from gen3dexport.cli.tables import say_limits, stages
    from gen3dexport.cli.time_left import TimeLeft
    from gen3dexport.cli.validate import show_report
    from gen3dexport.reports.judge import exit_code
    from gen3dexport.validation.validate import validate as validate_bundle

    say_limits(plan_.recipe.name, plan_.recipe.licences)
    left = TimeLeft(f"{plan_.recipe.name}-{plan_.target.name}")
    with stages(list(plan_.schemes), quiet=as_json, left=left) as on_stage:
        if skip_validation:
            build_bundle(plan_, folder, on_stage, jobs=jobs)
        else:
            reports: list[Report] = []

            def judge(draft: Path) -> None:
                on_stage("bundle", "validate")
                reports.append(validate_bundle(draft, folder.absolute().name))

            manifest = build_bundle(plan_, folder, on_stage, judge, jobs)
    left.keep()
    if skip_validation:
        emit(as_json, {"bundle": str(folder), "verdict": "not validated"}, f"{folder}: built, not validated")
        return
    if as_json:
        print(reports[0].to_json(), end="")
    else:
        show_report(reports[0], folder, manifest, folder)
    raise typer.Exit(exit_code(reports[0]))


def _check_reproducible(plan: Plan, arguments: list[str], as_json: bool) -> NoReturn:
    """Build twice, show what differs, and exit."""
    from gen3dexport.cli.tables import size_text, stages
    from gen3dexport.plan import require_ready
    from gen3dexport.validation.reproducible import EXIT_CODE, VARIED, build_twice

    require_ready(plan)
    arguments += ["--allow-pickle"] if plan.allow_pickle else []
    if plan.recipe.weights.startswith("~"):  # the builds have other homes
        arguments.append(f"weights={plan.weights}")
    name = f"{plan.recipe.name} on {plan.target.name}"
    with stages([name], quiet=as_json) as on_stage:
        found = build_twice(arguments, lambda stage: on_stage(name, stage))
    told = f"{name}: built twice with other {VARIED}: {found.files} files, {size_text(found.bytes)}"
    verdict = "every byte is the same" if not found.differences else "only times and memory of the compiler differ"
    lines = [f"{told}; {verdict if found.reproducible else 'they differ'}"]
    lines += [f"  {d}{' (measured)' if d.measured else ''}" for d in found.differences]
    result = {"recipe": plan.recipe.name, "target": plan.target.name, "reproducible": found.reproducible}
    result |= {"files": found.files, "bytes": found.bytes, "differences": [asdict(d) for d in found.differences]}
    emit(as_json, result, "\n".join(lines))
    raise typer.Exit(0 if found.reproducible else EXIT_CODE)
