"""The pages of `sensitivity` and `tune`: tables and plots in the style of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from gen3dexport.pages import plots
from gen3dexport.pages.page import page, plot_place, section, table

Facts = Mapping[str, Any]


def sensitivity_html(result: Facts, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The page of a sensitivity analysis."""
    drawn = _sensitivity_plots(result["rows"])
    note = f"<p>Each row: only that layer quantized, in every block. Loss: {escape(result['loss'])}.</p>"
    body = [
        _header(f"Sensitivity of {result['recipe']} on {result['target']}"),
        section("Layers", note, table(head, [[escape(cell) for cell in row] for row in rows])),
        section("At the component's output", plot_place(drawn, "plot-snr")),
        section("In the asset", plot_place(drawn, "plot-loss")),
    ]
    return page(f"sensitivity of {result['recipe']}", [part for part in body if part], drawn)


def tune_html(result: Facts, head: Sequence[str], rows: Sequence[Sequence[str]], recipe: str) -> str:
    """The page of a search: the Pareto plots, the candidates and the recipe that was written."""
    unit = result["unit"]
    drawn = {
        "plot-built": plots.pareto(result["candidates"], "value", f"{result['minimize']}, {unit}: built programs"),
        "plot-tried": plots.pareto(result["tried"], "megabytes", "weights, MB: tried on the eager model"),
        **_sensitivity_plots(result["sensitivity"]["rows"]),
    }
    note = f"<p>Loss: {escape(result['sensitivity']['loss'])}, at most {result['max_loss']:g}.</p>"
    body = [
        _header(f"Tuned: {result['recipe']} on {result['target']}"),
        section("Built", note, plot_place(drawn, "plot-built"), table(head, [[escape(c) for c in r] for r in rows])),
        section("Tried", plot_place(drawn, "plot-tried")),
        section("Recipe", f"<pre>{escape(recipe)}</pre>"),
        section("Sensitivity", plot_place(drawn, "plot-snr"), plot_place(drawn, "plot-loss")),
    ]
    return page(f"tune {result['recipe']}", [part for part in body if part], drawn)


def _header(title: str) -> str:
    return f'<header><div class="top"><h1>{escape(title)}</h1></div></header>'


def _sensitivity_plots(rows: Sequence[Facts]) -> dict[str, plots.Figure | None]:
    """Bars of every measured row's SNR and loss."""
    measured = [row for row in rows if row["reason"] is None]
    labels = [f"{row['component']}: {row['pattern']} ({row['scheme']})" for row in measured]
    return {
        "plot-snr": plots.bars(labels, [row["snr_db"] for row in measured], "SNR, dB"),
        "plot-loss": plots.bars(labels, [row["loss"] for row in measured], "asset loss, 1 - IoU"),
    }
