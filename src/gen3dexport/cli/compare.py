"""`gen3dexport compare`: two bundles or reports side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gen3dexport.cli.app import Json

if TYPE_CHECKING:
    from gen3dexport.reports.comparison import Comparison

EXAMPLE = "gen3dexport compare main-bundle pull-bundle --max-latency-increase 5% --max-quality-loss 0.01"


def compare(
    a: Annotated[Path, typer.Argument(help="What was: a validated bundle or its report.json.", metavar="A")],
    b: Annotated[Path, typer.Argument(help="What is now.", metavar="B")],
    max_latency_increase: Annotated[str, typer.Option(help="Of one asset, e.g. 5% or 0.05.")] = "",
    max_size_increase: Annotated[str, typer.Option(help="Of programs and weights.")] = "",
    max_memory_increase: Annotated[str, typer.Option(help="Of any program's peak.")] = "",
    max_quality_loss: Annotated[str, typer.Option(help="Of the mean first score of any kind, e.g. 0.01 or 1%.")] = "",
    accept_estimates: Annotated[
        bool, typer.Option("--accept-estimates", help="Judge two estimates by one cost model.")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown for a pull-request comment.")] = False,
    as_json: Json = False,
) -> None:
    """Compare two bundles or reports; fail where B is worse than A by more than a threshold.

    Exit code 5: lost quality; 6: grew or slowed down; 7: a report that cannot be read, or a changed bundle; 8: a
    threshold that could not be judged. Measured and estimated numbers are shown side by side and
    never judged against each other.
    """
    from gen3dexport.reports import compare as comparing
    from gen3dexport.reports.comparison import to_markdown
    from gen3dexport.reports.report import read_checked_report

    options = {
        "latency": (max_latency_increase, "--max-latency-increase"),
        "size": (max_size_increase, "--max-size-increase"),
        "memory": (max_memory_increase, "--max-memory-increase"),
        "quality": (max_quality_loss, "--max-quality-loss"),
    }
    limits = {key: comparing.share(text, name) for key, (text, name) in options.items() if text}
    thresholds = comparing.Thresholds(**limits, accept_estimates=accept_estimates)
    found = comparing.compare(read_checked_report(a), read_checked_report(b), thresholds)
    if as_json or markdown:
        print(found.model_dump_json(by_alias=True, indent=1) if as_json else to_markdown(found))
    else:
        show_comparison(found)
    raise typer.Exit(comparing.exit_code(found))


def show_comparison(comparison: Comparison) -> None:
    """Both sides' numbers, what changed, and below that the verdicts."""
    from rich.text import Text

    from gen3dexport.cli.tables import COLOURS, terminal
    from gen3dexport.cli.text_table import show_rows
    from gen3dexport.reports.comparison import HEAD, cells, notes

    console = terminal()
    for name, side in (("A", comparison.a), ("B", comparison.b)):
        console.print(f"{name}: {side.bundle}, {side.recipe} on {side.target}, {side.device}", markup=False)
    rows = [(row, cells(row)) for row in comparison.rows]
    show_rows(HEAD[:-1], [texts[:-1] for _, texts in rows])
    for note in notes(comparison):
        console.print(note, markup=False)
    for row, (program, what, *_, verdict) in rows:
        if row.verdict:
            console.print(f"{program} {what}:", Text(verdict, COLOURS.get(row.verdict, "yellow")), markup=False)
