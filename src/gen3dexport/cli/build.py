"""`gen3dexport build`: a recipe on a target into a bundle, and its validation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gen3dexport.cli.app import Json, TargetName, emit, plan_of

if TYPE_CHECKING:
    from gen3dexport.reports.records import Report

EXAMPLE = "gen3dexport build trellis-mini --target executorch -o chair-maker"


def build(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="A recipe (default trellis-mini), then overrides.", metavar="[RECIPE] [KEY=VALUE]..."),
    ] = None,
    target: TargetName = "executorch",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The bundle's folder (default RECIPE-TARGET).")
    ] = None,
    random_weights: Annotated[bool, typer.Option(help="Random weights, for sizing only.")] = False,
    skip_validation: Annotated[bool, typer.Option(help="Do not validate the bundle after building it.")] = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Read weights from a pickle too: its tensors only, never its code.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Build a bundle for a target and validate it from disk."""
    from gen3dexport.build import build as build_bundle
    from gen3dexport.cli.tables import say_limits, stages
    from gen3dexport.cli.validate import show_report
    from gen3dexport.reports.judge import exit_code
    from gen3dexport.validation.validate import validate as validate_bundle

    recipe, assignments = split_arguments(arguments or [])
    assignments += ["random_weights=true"] if random_weights else []
    plan_ = plan_of(recipe, target, assignments, allow_pickle)
    folder = out or Path(f"{plan_.recipe.name}-{plan_.target.name}")
    say_limits(plan_.recipe.name, plan_.recipe.licences)
    with stages(list(plan_.schemes), quiet=as_json) as on_stage:
        if skip_validation:
            build_bundle(plan_, folder, on_stage)
        else:
            reports: list[Report] = []
            manifest = build_bundle(
                plan_, folder, on_stage, lambda draft: reports.append(validate_bundle(draft, folder.absolute().name))
            )
    if skip_validation:
        emit(as_json, {"bundle": str(folder), "verdict": "not validated"}, f"{folder}: built, not validated")
        return
    if as_json:
        print(reports[0].to_json(), end="")
    else:
        show_report(reports[0], folder, manifest, folder)
    raise typer.Exit(exit_code(reports[0]))


def split_arguments(arguments: list[str]) -> tuple[str, list[str]]:
    """The recipe (trellis-mini when none is named) and the `key=value` overrides."""
    from gen3dexport.errors import UsageError

    names = [a for a in arguments if "=" not in a]
    if len(names) > 1:
        raise UsageError(f"{' '.join(names)}: one recipe at a time; overrides are written key=value")
    return (names[0] if names else "trellis-mini"), [a for a in arguments if "=" in a]
