"""The command line. Heavy packages are imported inside the commands, so that `--help` and `ls` answer at once."""

from __future__ import annotations

import json
import logging
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from gen3dexport.errors import GenExportError, Interrupted

app = typer.Typer(
    name="gen3dexport",
    help="3D generation models out to ExecuTorch, TPU and CUDA programs, validated from disk.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Recipe = Annotated[str, typer.Argument(help="A shipped recipe or a YAML file.", metavar="RECIPE")]
TargetName = Annotated[str, typer.Option("--target", "-t", help="A shipped target, an alias or a YAML file.")]
Assignments = Annotated[list[str] | None, typer.Argument(help="Override single fields.", metavar="[KEY=VALUE]...")]
Bundle = Annotated[Path, typer.Argument(help="A folder made by `gen3dexport build`.", metavar="BUNDLE")]


# Packages that only extras install -> the extra.
VENDORS = {"torch": "torch", "torchao": "torch", "executorch": "executorch", "jax": "tpu", "torchax": "tpu"} | {
    "onnx": "onnx",
    "onnxruntime": "onnx",
}


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
    from gen3dexport.report import exit_code
    from gen3dexport.show import show_report, stages
    from gen3dexport.validate import validate as validate_bundle

    recipe, assignments = split_arguments(arguments or [])
    assignments += ["random_weights=true"] if random_weights else []
    plan_ = _plan(recipe, target, assignments, allow_pickle)
    folder = out or Path(f"{plan_.recipe.name}-{plan_.target.name}")
    with stages(list(plan_.schemes), quiet=as_json) as on_stage:
        manifest = build_bundle(plan_, folder, on_stage)
        report = None if skip_validation else validate_bundle(folder)
    if report is None:
        _emit(as_json, {"bundle": str(folder), "verdict": "not validated"}, f"{folder}: built, not validated")
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
    from gen3dexport.report import exit_code
    from gen3dexport.show import show_report
    from gen3dexport.validate import validate as validate_bundle

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
    out: Annotated[Path, typer.Option("--out", "-o", help="The asset: .glb, .obj, .ply or .stl.")] = Path("asset.glb"),
    seed: Annotated[int, typer.Option(help="Of the noise; the same seed makes the same asset.")] = 0,
    features: Annotated[
        Path | None, typer.Option(help="A .npy file of condition features [L, C] instead of a prompt.")
    ] = None,
    render: Annotated[bool, typer.Option("--render", help="Also write a turntable picture beside the asset.")] = False,
    as_json: Json = False,
) -> None:
    """Make an asset with a bundle."""
    from gen3dexport.generate import generate

    made = generate(bundle, prompt, seed, features, out, render)
    counts = [f"{made[key]} {key}" for key in ("gaussians", "vertices", "faces") if key in made]
    lines = [f"{made['asset']}: {', '.join(counts)}"]
    lines += [f"made in {made['seconds']:.2f} s, after {made['load_seconds']:.1f} s of loading the programs"]
    lines += [f"{made['picture']}: turntable"] if made["picture"] else []
    _emit(as_json, made, "\n".join(lines))


@app.command(epilog="Example: gen3dexport plan trellis-mini --target tpu")
def plan(
    recipe: Recipe, target: TargetName = "executorch", assignments: Assignments = None, as_json: Json = False
) -> None:
    """Show what would be built, before any weight is read."""
    from gen3dexport.show import show_plan
    from gen3dexport.sizing import describe

    described = describe(_plan(recipe, target, assignments or []))
    if as_json:
        print(json.dumps(described, indent=1))
    else:
        show_plan(described)


@app.command("ls", epilog="Example: gen3dexport ls targets")
def list_(
    what: Annotated[str, typer.Argument(help="recipes, targets, families or schemes; all when left out.")] = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="Schemes on targets as a Markdown table.")] = False,
    as_json: Json = False,
) -> None:
    """List what there is to build."""
    from gen3dexport.errors import UsageError
    from gen3dexport.listing import listing, scheme_matrix
    from gen3dexport.show import show_listing

    if markdown:
        if what != "schemes" or as_json:
            raise UsageError("ls --markdown is of schemes, and no JSON: gen3dexport ls schemes --markdown")
        print(scheme_matrix(), end="")
        return
    found = listing(what)
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        show_listing(found)


@app.command(epilog="Example: gen3dexport show trellis-mini")
def show(
    name: Annotated[str, typer.Argument(help="A shipped recipe or target.", metavar="NAME")], as_json: Json = False
) -> None:
    """Print a shipped recipe or target."""
    from gen3dexport.listing import find_document

    path = find_document(name)
    _emit(as_json, {"path": str(path), "text": path.read_text()}, path.read_text().rstrip())


@app.command(epilog="Example: gen3dexport cp trellis-mini my-recipe.yaml")
def cp(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe or target.", metavar="RECIPE")],
    path: Annotated[Path, typer.Argument(help="Where the copy goes.", metavar="PATH")],
    as_json: Json = False,
) -> None:
    """Copy a shipped recipe or target, to change it."""
    from gen3dexport.listing import copy_document

    written = copy_document(recipe, path)
    _emit(as_json, {"path": str(written)}, f"{written}: edit it, then: gen3dexport build {written}")


@app.command(epilog="Example: gen3dexport verify chair-maker")
def verify(bundle: Bundle, as_json: Json = False) -> None:
    """Check every file of a bundle against its recorded size and digest."""
    from gen3dexport.bundle import verify as verify_bundle

    manifest = verify_bundle(bundle)
    count, size = len(manifest.files), sum(f.bytes for f in manifest.files.values())
    _emit(
        as_json,
        {"bundle": str(bundle), "files": count, "bytes": size},
        f"{bundle}: {count} files, {size / 1e6:.1f} MB, all as recorded",
    )


@app.command(epilog="Example: gen3dexport inspect chair-maker")
def inspect(bundle: Bundle, as_json: Json = False) -> None:
    """Show a bundle's manifest: components, schemes, sizes and operators."""
    from gen3dexport.bundle import read_manifest
    from gen3dexport.show import show_manifest

    manifest = read_manifest(bundle)
    if as_json:
        print(json.dumps(manifest.model_dump(mode="json", by_alias=True), indent=1))
    else:
        show_manifest(manifest, bundle)


@app.command(epilog="Example: gen3dexport doctor --target tpu")
def doctor(
    target: Annotated[str, typer.Option("--target", "-t", help="Only this target.")] = "", as_json: Json = False
) -> None:
    """Say what is installed, what is missing, and the command that mends it."""
    from gen3dexport.doctor import examine
    from gen3dexport.show import show_doctor

    found = examine(target)
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        show_doctor(found)
    raise typer.Exit(3 if target and found["targets"][0]["missing"] else 0)


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
    from gen3dexport.parity import compare
    from gen3dexport.show import show_parity

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
    from gen3dexport import compare as comparing
    from gen3dexport.show import show_comparison

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
    from gen3dexport.plan import require_ready
    from gen3dexport.sensitivity import HEAD, cells
    from gen3dexport.sensitivity import sensitivity as measure
    from gen3dexport.show import show_rows, stages
    from gen3dexport.trials import Trials

    plan_ = _plan(recipe, target, assignments or [])
    require_ready(plan_)
    with stages(list(plan_.schemes), quiet=as_json) as on_stage:
        result = measure(Trials(plan_, on_stage), component or (), scheme or (), on_stage)
    rows = [cells(row) for row in result["rows"]]
    if out is not None:
        from gen3dexport.search_html import sensitivity_html

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
    candidates: Annotated[int, typer.Option(min=1, help="Mixtures that are built and measured.")] = 3,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The recipe (default RECIPE-TARGET.yaml); .html and .json beside."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Search which layers to quantize, and write the recipe that does, with the evidence beside it.

    Sensitivities and greedy search run on the eager model; the uniform schemes and the last mixtures are then built and
    measured from disk (estimated, where the target's device is not here and its backend has a cost model).
    """
    from gen3dexport.plan import require_ready
    from gen3dexport.search_html import tune_html
    from gen3dexport.show import show_rows, stages
    from gen3dexport.tune import HEAD, Goal, cells
    from gen3dexport.tune import tune as search
    from gen3dexport.tuned_recipe import tuned_recipe

    plan_ = _plan(recipe, target, assignments or [])
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


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from gen3dexport import __version__

        print(__version__)
        raise typer.Exit


def split_arguments(arguments: list[str]) -> tuple[str, list[str]]:
    """The recipe (trellis-mini when none is named) and the `key=value` overrides."""
    from gen3dexport.errors import UsageError

    names = [a for a in arguments if "=" not in a]
    if len(names) > 1:
        raise UsageError(f"{' '.join(names)}: one recipe at a time; overrides are written key=value")
    return (names[0] if names else "trellis-mini"), [a for a in arguments if "=" in a]


def _plan(recipe: str, target_name: str, assignments: list[str], allow_pickle: bool = False) -> Any:
    from gen3dexport.plan import make_plan
    from gen3dexport.recipe import read_recipe
    from gen3dexport.target import read_target

    target = read_target(target_name)
    return make_plan(read_recipe(recipe, target, assignments), target, allow_pickle)


def _emit(as_json: bool, data: Any, text: str) -> None:
    print(json.dumps(data, indent=1) if as_json else text)


def main() -> None:
    """Run the command line; the one place where errors become exit codes."""
    as_json = "--json" in sys.argv
    for name in ("torch.utils._pytree", "torch.onnx"):  # notes on packages that are not ours to change
        logging.getLogger(name).setLevel(logging.ERROR)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        app()
    except GenExportError as error:
        _complain(as_json, type(error).__name__, str(error))
        sys.exit(error.exit_code)
    except Interrupted as error:
        _complain(as_json, "Interrupted", "interrupted; what was finished is in the stage cache and will be used again")
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in VENDORS:
            raise
        from gen3dexport.errors import MissingError

        remedy = f"{package} is not installed; run: pip install 'gen3dexport[{VENDORS[package]}]'"
        _complain(as_json, "MissingError", f"this command needs {package}: {remedy}")
        sys.exit(MissingError.exit_code)
    except OSError as error:
        from gen3dexport.bundle import disk_error

        mended = disk_error(error, Path(str(error.filename or ".")))
        _complain(as_json, "UsageError", str(mended))
        sys.exit(mended.exit_code)


def _interrupt(number: int, frame: object) -> NoReturn:
    raise Interrupted


def _complain(as_json: bool, kind: str, message: str) -> None:
    if as_json:
        print(json.dumps({"error": kind, "message": message}))
    else:
        print(f"error: {message}", file=sys.stderr)
