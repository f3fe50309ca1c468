"""What the command line prints for people: tables on stdout, progress on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gen3dexport.bundle import Manifest
from gen3dexport.reports.compare import cells
from gen3dexport.reports.report import Report, error_text, latency_text, number

_COLOURS = {"pass": "green", "fail": "red", "unmeasured": "yellow"}


def _console() -> Console:
    return Console(highlight=False, soft_wrap=False)


def _table(*columns: str, title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def size_text(size: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


@contextmanager
def stages(components: Sequence[str], quiet: bool) -> Iterator[Callable[[str, str], None]]:
    """Progress of a build on stderr: one line per component and stage, with the time it took."""
    console = Console(stderr=True, quiet=quiet, highlight=False)
    width = max(map(len, components))
    state: dict[str, Any] = {"line": None, "start": time.perf_counter()}

    def finish() -> None:
        if state["line"] is not None:
            console.print(f"{state['line']}  [dim]{time.perf_counter() - state['start']:6.1f} s[/dim]")

    with console.status("starting") as status:

        def on_stage(component: str, stage: str) -> None:
            finish()
            state.update(line=f"{component:{width}}  {stage:9}", start=time.perf_counter())
            status.update(f"{component}: {stage}")

        yield on_stage
        finish()


def show_report(report: Report, folder: Path, manifest: Manifest) -> None:
    """Verdict, budgets, programs, and what to do next."""
    console = _console()
    colour = _COLOURS[report["verdict"]]
    console.print(f"[bold]{report['recipe']}[/bold] on [bold]{report['target']}[/bold]: ", end="")
    where = "validated" if report["verdict"] == "unmeasured" else "measured"
    console.print(f"[{colour}]{report['verdict']}[/{colour}]", f"({where} on {report['device']})")
    if report["random_weights"]:
        console.print("[yellow]random weights: sizes only, assets would mean nothing[/yellow]")
    table = _table("program", "scheme", "size", "vs quantized", "vs fp32", "latency")
    for c in report["components"]:
        size = size_text(c["program_bytes"] + c["weights_bytes"])
        errors = [error_text(c["errors"], kind) for kind in ("quantized", "fp32")]
        table.add_row(c["name"], c["scheme"], size, *errors, latency_text(c["latency"]))
    console.print(table)
    console.print(f"one asset: {latency_text(report['pipeline']['latency'])}")
    if report["budgets"]:
        table = _table("budget", "limit", "value", "", "verdict")
        for b in report["budgets"]:
            limit = f"{'≥' if b['floor'] else '≤'} {number(b['limit'])} {b['unit']}"
            verdict = Text(b["verdict"] + (f": {b['reason']}" if b["reason"] else ""), _COLOURS[b["verdict"]])
            table.add_row(b["name"], limit, f"{number(b['value'])} {b['unit']}", b["kind"], verdict)
        console.print(table)
    console.print(f"bundle: {folder} ({size_text(sum(f.bytes for f in manifest.files.values()))})")
    console.print(f"report: {folder / 'report.html'}")
    if report["pipeline"]["missing"] is None:
        prompt = manifest.recipe["golden"]["prompts"][0]
        console.print(f'next:   gen3dexport run {folder} --prompt "{prompt}" -o asset.glb --render')


def show_plan(plan: Mapping[str, Any]) -> None:
    """Components with their sizes, and operators the target cannot take."""
    console = _console()
    console.print(
        f"[bold]{plan['recipe']}[/bold] on [bold]{plan['target']}[/bold] ({plan['backend']}, {plan['device']})"
    )
    table = _table("component", "scheme", "parameters", "bytes", "expected peak", "inputs")
    for c in plan["components"]:
        inputs = ", ".join(f"{k} {'x'.join(map(str, v))}" for k, v in c["inputs"].items())
        sizes = [size_text(c["bytes"]), size_text(c["expected_peak_bytes"])]
        table.add_row(c["name"], c["scheme"], f"{c['parameters'] / 1e6:.2f} M", *sizes, inputs)
    console.print(table)
    for c in plan["components"]:
        for pattern, scheme in c["modules"].items():
            console.print(f"{c['name']}: {pattern} {scheme}", markup=False)
    console.print(f"sizes are estimated from {plan['by']}")
    for c in plan["components"]:
        for operator, reason in c["unsupported"].items():
            console.print(f"[red]{c['name']}: {operator}: {reason}[/red]")
    for line in plan["missing"]:
        console.print(f"[yellow]missing here: {line}[/yellow]")


def show_listing(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """One table per kind."""
    console = _console()
    for kind, rows in found.items():
        columns = list(rows[0]) if rows else []
        table = _table(*columns, title=kind if len(found) > 1 else None)
        for row in rows:
            table.add_row(*(_cell(row[c]) for c in columns))
        console.print(table)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value or "")


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_fact(v)}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def show_manifest(manifest: Manifest, folder: Path) -> None:
    """Programs, sizes and operators of a bundle."""
    console = _console()
    console.print(
        f"[bold]{folder}[/bold]: {manifest.recipe['name']} for {manifest.target['name']}, family {manifest.family}"
    )
    if manifest.random_weights:
        console.print("[yellow]random weights: sizes only[/yellow]")
    table = _table("program", "kind", "scheme", "parameters", "size", "files", "inputs")
    for p in manifest.programs:
        parameters = f"{manifest.parameters[p.component] / 1e6:.2f} M"
        inputs = ", ".join(f"{k} {s.dtype} {'x'.join(map(str, s.shape))}" for k, s in p.inputs.items())
        table.add_row(p.name, p.kind, p.scheme, parameters, size_text(manifest.bytes_of(p)), ", ".join(p.files), inputs)
    console.print(table)
    for p in manifest.programs:
        for key, value in p.facts.items():
            console.print(f"[dim]{p.name} {key}:[/dim] {_fact(value)}")
    console.print("built with " + ", ".join(f"{k} {v}" for k, v in manifest.versions.items()))


def show_doctor(found: Mapping[str, Any]) -> None:
    """Versions, and for each target whether it can be built here."""
    console = _console()
    console.print(", ".join(f"{k} {v}" for k, v in found["versions"].items()))
    console.print(f"{found['host']['processor']} ({found['host']['machine']}); stage cache {found['stage_cache']}")
    table = _table("target", "device", "state")
    for row in found["targets"]:
        state = Text("ready", "green") if not row["missing"] else Text("\n".join(row["missing"]), "yellow")
        table.add_row(row["name"], row["device"], state)
    console.print(table)


def show_rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table of texts; marks of an HTML heading (`#`, `~`) are left out."""
    table = _table(*(name.lstrip("#~") for name in head))
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    _console().print(table)


def show_comparison(comparison: Mapping[str, Any]) -> None:
    """Both sides' numbers, what changed, and the verdicts."""
    console = _console()
    for side in ("a", "b"):
        name = comparison[side]
        console.print(f"{side.upper()}: {name['bundle']}, {name['recipe']} on {name['target']}, {name['device']}")
    table = _table("what", "A", "B", "change", "verdict")
    for row in comparison["rows"]:
        *texts, verdict = cells(row)
        table.add_row(*texts, Text(verdict, _COLOURS.get(row["verdict"], "yellow")))
    console.print(table)


def show_parity(result: Mapping[str, Any]) -> None:
    """Error of each output and the verdict."""
    console = _console()
    table = _table("output", "max abs", "relative to scale", "relative L2")
    for row in result["outputs"]:
        table.add_row(row["output"], *(f"{row[k]:.2e}" for k in ("max_abs", "relative", "relative_l2")))
    console.print(table)
    verdict = "[green]within[/green]" if result["passed"] else "[red]outside[/red]"
    console.print(
        f"{result['golden']} through {result['target']} ({result['scheme']}): {verdict} {result['tolerance']:g}"
    )
