"""`gen3dexport validate`: a bundle judged from disk."""

from __future__ import annotations

import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gen3dexport.cli.app import Bundle, Json
from gen3dexport.disk import check_place
from gen3dexport.errors import GenExportError, UsageError

if TYPE_CHECKING:
    from gen3dexport.bundle.manifest import Manifest
    from gen3dexport.reports.records import Report

EXAMPLE = "gen3dexport validate trellis-mini-executorch-xnnpack"

_MOST_VIEWS = 9  # pictures that a pipeline of several is tried with, and one more


def validate(
    bundle: Bundle,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A folder for the report (default the bundle itself).")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Measure on another machine: ssh://[user@]host[:port][/folder], adb[:SERIAL] or qemu:CPU."),
    ] = None,
    runner: Annotated[
        Path | None,
        typer.Option(help="What runs there: the folder that `cmake --install` of embed/cpp made for the device."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a bundle's programs from disk in a fresh process and judge them by its budgets.

    With --device, runner and bundle are copied to that machine, which runs the programs, and are removed again. The
    report of a bundle that cannot be written is shown and not kept, unless --out names a place for it.
    """
    from gen3dexport.bundle.manifest import read_manifest
    from gen3dexport.bundle.report_files import refuse_inside
    from gen3dexport.reports.judge import exit_code
    from gen3dexport.validation.validate import judge

    manifest = read_manifest(bundle)
    place = _writable(bundle) if out is None else out
    if out is not None:
        if out.resolve() != bundle.resolve():
            refuse_inside(bundle, out)
        check_place(out / "report.json")
    if device is None and runner is not None:
        raise UsageError("--runner: is for a device; name one with --device, or leave it out")
    if device is None:
        judged = judge(bundle)
    else:
        from gen3dexport.validation.remote.judge import judge_on_device

        judged = judge_on_device(bundle, device, runner)
    code = exit_code(judged.report)
    try:
        if place is not None:
            judged.write(place)
    except UsageError as error:  # told when the numbers are shown
        warnings.warn(f"{error}; the report is not kept", stacklevel=1)
        place, code = None, code or UsageError.exit_code
    if as_json:
        print(judged.report.to_json(), end="")
    else:
        show_report(judged.report, bundle, manifest, place)
    raise typer.Exit(code)


def _writable(bundle: Path) -> Path | None:
    try:
        check_place(bundle / "report.json")
    except UsageError:
        warnings.warn(
            f"{bundle}: cannot be written; the report is not kept, name a folder for it with -o", stacklevel=2
        )
        return None
    return bundle


def show_report(report: Report, folder: Path, manifest: Manifest, place: Path | None) -> None:
    """Verdict, budgets, programs, where the report is, and what to do next."""
    from rich.text import Text

    from gen3dexport.cli.tables import COLOURS, columns, size_text, terminal
    from gen3dexport.cli.text_table import show_rows
    from gen3dexport.reports.text import (
        PROGRAM_HEAD,
        latency_text,
        limit_text,
        program_cells,
        program_notes,
        value_text,
    )

    console = terminal()
    colour = COLOURS[report.verdict]
    console.print(f"[bold]{report.recipe}[/bold] on [bold]{report.target}[/bold]: ", end="")
    where = "validated" if report.verdict == "unmeasured" else "measured"
    console.print(f"[{colour}]{report.verdict}[/{colour}]", f"({where} on {report.device})")
    if report.random_weights:
        console.print("[yellow]random weights: sizes only, assets would mean nothing[/yellow]")
    show_rows(PROGRAM_HEAD, [program_cells(c) for c in report.components])
    for note in program_notes(report.components):
        console.print(note, markup=False)
    console.print(f"one asset: {latency_text(report.pipeline.latency)}")
    if report.budgets:
        table = columns("budget", "limit", "value", "basis", "verdict")
        for b in report.budgets:
            verdict = Text(b.verdict + (f": {b.reason}" if b.reason else ""), COLOURS[b.verdict])
            table.add_row(b.name, limit_text(b), value_text(b), b.basis, verdict)
        console.print(table)
    console.print(f"bundle: {folder} ({size_text(sum(f.bytes for f in manifest.files.values()))})")
    if place is not None:
        console.print(f"report: {place / 'report.html'}")
    if report.pipeline.missing is None:
        asked, file = first_run(folder, manifest, report.pipeline.prompts[0])
        words = ("gen3dexport run", str(folder), asked, f"-o {file} --render")
        console.print("next:   " + " ".join(filter(None, words)), markup=False)


def first_run(folder: Path, manifest: Manifest, prompt: str) -> tuple[str, str]:
    """What `run` takes of this pipeline, asked of it, and a file that can hold what it makes."""
    import numpy as np

    from gen3dexport.assets import files
    from gen3dexport.models import Request
    from gen3dexport.runtime.pipeline import LoadedBundle

    loaded = LoadedBundle(folder, manifest)
    grey = np.full((64, 64, 4), 128, np.uint8)
    asked = "--features FILE.npy"
    requests = [(f'--prompt "{prompt}"', Request(prompt=prompt)), ("--image FILE", Request(image=grey))]
    requests += [("--image FOLDER", Request(image=[grey] * n)) for n in range(2, _MOST_VIEWS)]
    requests += [("--video FILM --image FOLDER", Request(image=[grey] * n, video=[grey])) for n in range(_MOST_VIEWS)]
    requests.append(("--video FILM", Request(video=[grey] * getattr(loaded.settings, "frames", 1))))
    requests.append(("", Request()))
    if getattr(loaded.settings, "takes_film", False):
        requests.reverse()
    if (takes := getattr(loaded.settings, "asked", None)) is not None:  # arrays by name, if any
        asked, requests = "--input FILE.npz" if takes else "", []
    for text, request in requests:
        with suppress(GenExportError):
            loaded.begin(request, np)
            asked = text
            break
    known, made = files.endings(), {*loaded.settings.asset_kinds}
    return asked, next(f"asset{ending}" for ending in (".glb", ".png", ".zip", ".npz") if made & {*known[ending]})
