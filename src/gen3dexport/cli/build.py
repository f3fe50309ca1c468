"""Commands that make something: build, validate, run, plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from gen3dexport.cli.app import Assignments, Bundle, Json, Recipe, TargetName, app, emit, plan_of, split_arguments


@app.command(epilog="Example: gen3dexport build trellis-mini --target executorch -o chair-maker")
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
    from gen3dexport.cli.show import show_report, stages
    from gen3dexport.reports.report import exit_code
    from gen3dexport.validation.validate import validate as validate_bundle

    recipe, assignments = split_arguments(arguments or [])
    assignments += ["random_weights=true"] if random_weights else []
    plan_ = plan_of(recipe, target, assignments, allow_pickle)
    folder = out or Path(f"{plan_.recipe.name}-{plan_.target.name}")
    with stages(list(plan_.schemes), quiet=as_json) as on_stage:
        manifest = build_bundle(plan_, folder, on_stage)
        report = None if skip_validation else validate_bundle(folder)
    if report is None:
        emit(as_json, {"bundle": str(folder), "verdict": "not validated"}, f"{folder}: built, not validated")
        return
    if as_json:
        print(json.dumps(report, indent=1))
    else:
        show_report(report, folder, manifest)
    raise typer.Exit(exit_code(report))


@app.command(epilog="Example: gen3dexport validate trellis-mini-executorch-xnnpack")
def validate(bundle: Bundle, as_json: Json = False) -> None:
    """Run a bundle's programs from disk in a fresh process and judge them by its budgets."""
    from gen3dexport.bundle import read_manifest
    from gen3dexport.cli.show import show_report
    from gen3dexport.reports.report import exit_code
    from gen3dexport.validation.validate import validate as validate_bundle

    report = validate_bundle(bundle)
    if as_json:
        print(json.dumps(report, indent=1))
    else:
        show_report(report, bundle, read_manifest(bundle))
    raise typer.Exit(exit_code(report))


@app.command(epilog='Example: gen3dexport run chair-maker --prompt "a tall chair with four legs" -o chair.glb --render')
def run(
    bundle: Bundle,
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="What to make.")] = "",
    out: Annotated[
        list[Path] | None,
        typer.Option(
            "--out",
            "-o",
            help="A file: .glb .obj .ply .stl .splat .usdc .html .npz (default asset.glb); may be given again.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the noise; the same seed makes the same asset.")] = 0,
    features: Annotated[
        Path | None, typer.Option(help="A .npy file of condition features [L, C] instead of a prompt.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="A picture instead of a prompt, best with a transparent background.")
    ] = None,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Keep what the encoder makes of a prompt or image, and use it.")
    ] = True,
    kind: Annotated[
        str, typer.Option(help="mesh, gaussians or radiance_field, where a file could hold another too.")
    ] = "",
    on_overflow: Annotated[
        str, typer.Option(help="More voxels than the bundle has room for: error, or coarsen (default: the recipe's).")
    ] = "",
    render: Annotated[bool, typer.Option("--render", help="Also write a turntable picture beside the asset.")] = False,
    as_json: Json = False,
) -> None:
    """Make an asset with a bundle."""
    from gen3dexport.runtime.generate import generate

    made = generate(bundle, prompt, seed, features, out or [Path("asset.glb")], render, image, cache, kind, on_overflow)
    lines = []
    for file in made["assets"]:
        counts = ", ".join(f"{value:,} {name}" for name, value in file.items() if name not in ("path", "kind"))
        lines.append(f"{file['path']}: {file['kind'].replace('_', ' ')} of {counts}")
    lines += [f"made in {made['seconds']:.2f} s, after {made['load_seconds']:.1f} s of loading the programs"]
    lines += [f"{made['picture']}: turntable"] if made["picture"] else []
    emit(as_json, made, "\n".join(lines))


@app.command(epilog="Example: gen3dexport plan trellis-mini --target tpu")
def plan(
    recipe: Recipe, target: TargetName = "executorch", assignments: Assignments = None, as_json: Json = False
) -> None:
    """Show what would be built, before any weight is read."""
    from gen3dexport.cli.show import show_plan
    from gen3dexport.sizing import describe

    described = describe(plan_of(recipe, target, assignments or []))
    if as_json:
        print(json.dumps(described, indent=1))
    else:
        show_plan(described)
