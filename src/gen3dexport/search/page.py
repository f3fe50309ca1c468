"""The pages of `sensitivity` and `tune`: tables and plots in the style of a report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from gen3dexport.pages import plots
from gen3dexport.pages.page import page, plot_place, section, table
from gen3dexport.reports.judge import number_of
from gen3dexport.search.records import HeldOut, Layer, Samplers, Sensitivity, Tuned
from gen3dexport.search.tune import loss_text

_DRAWN = 10
"""Times the allowed loss; sampler settings that lose more are in the table alone."""


def sensitivity_html(result: Sensitivity, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The page of a sensitivity analysis."""
    drawn = _sensitivity_plots(result.rows)
    note = f"<p>Each row: only that layer quantized, in every block. Loss: {escape(result.loss)}.</p>"
    body = [
        _header(f"Sensitivity of {result.recipe} on {result.target}"),
        section("Layers", note, table(head, [[escape(cell) for cell in row] for row in rows])),
        section("At the component's output", plot_place(drawn, "plot-snr")),
        section("In the asset", plot_place(drawn, "plot-loss")),
    ]
    return page(f"sensitivity of {result.recipe}", [part for part in body if part], drawn)


def tune_html(result: Tuned, head: Sequence[str], rows: Sequence[Sequence[str]], recipe: str) -> str:
    """The page of a search: the Pareto plots, the candidates, sampler settings and the recipe that was written."""
    chosen = result.chosen
    built = [
        plots.Point(c.name, value, c.loss, c.uniform, c.name == chosen)
        for c in result.candidates
        if (value := number_of(c.found)) is not None
    ]
    tried = [
        plots.Point(c.name, c.megabytes, c.loss, c.uniform, c.name == chosen)
        for c in result.tried
        if math.isfinite(c.loss)
    ]
    drawn = {
        "plot-built": plots.pareto(built, f"{result.minimize}, {result.unit}: built programs"),
        "plot-tried": plots.pareto(tried, "weights, MB: tried on the eager model"),
        **_sensitivity_plots(result.sensitivity.rows),
    }
    if result.samplers is not None:
        points = [
            plots.Point(p.name, p.cost, p.loss, not p.knobs, p.knobs == result.best.knobs)
            for p in result.samplers.rows
            if p.loss <= _DRAWN * result.max_loss
        ]
        drawn["plot-samplers"] = plots.pareto(points, result.samplers.cost_of, ("the recipe's own", "tried"))
    note = f"<p>Loss: {escape(result.sensitivity.loss)}; at most {result.max_loss:g}.</p>"
    if result.held_out is not None:
        note += _held_out(result.held_out)
    body = [
        _header(f"Tuned: {result.recipe} on {result.target}"),
        section("Built", note, plot_place(drawn, "plot-built"), table(head, [[escape(c) for c in r] for r in rows])),
        section("Tried", plot_place(drawn, "plot-tried")),
        "" if result.samplers is None else _samplers(result.samplers, drawn),
        section("Recipe", f"<pre>{escape(recipe)}</pre>"),
        section("Sensitivity", plot_place(drawn, "plot-snr"), plot_place(drawn, "plot-loss")),
    ]
    return page(f"tune {result.recipe}", [part for part in body if part], drawn)


def _held_out(held: HeldOut) -> str:
    """The prompts that candidates had to keep the loss on, too."""
    if not held.prompts:
        return f"<p>Held out: {escape(held.source)}.</p>"
    prompts = "".join(f"<li>{escape(prompt)}</li>" for prompt in held.prompts)
    said = f"Held out: {len(held.prompts)} prompts ({escape(held.source)}), at most the same loss."
    return f"<p>{said}</p><ul>{prompts}</ul>"


def _samplers(found: Samplers, drawn: plots.Figures) -> str:
    """The sampler settings that were tried, alone and with schemes."""
    note = "<p>Float32 on the eager model, against assets of the recipe's own settings. "
    note += f"Cost: {escape(found.cost_of)}. What loses over {_DRAWN} × the allowed loss is in the table alone.</p>"
    head = ("settings", "calls", "#cost, ms (estimated)", "#loss", "#loss held out")
    rows = [(p.name, _calls(p.calls), f"{p.cost:.4g}", loss_text(p.loss), loss_text(p.held_out)) for p in found.rows]
    pairs = [(escape(p.name), loss_text(p.loss), loss_text(p.held_out)) for p in found.joint]
    joint = (
        "<p>Together with schemes, on the eager model:</p>",
        table(("candidate", "#loss", "#loss held out"), pairs),
    )
    shown = table(head, [[escape(cell) for cell in row] for row in rows])
    return section("Sampler settings", note, plot_place(drawn, "plot-samplers"), shown, *(joint if pairs else ()))


def _calls(calls: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in calls.items())


def _header(title: str) -> str:
    return f'<header><div class="top"><h1>{escape(title)}</h1></div></header>'


def _sensitivity_plots(rows: Sequence[Layer]) -> plots.Figures:
    """Bars of every measured row's SNR and loss; an infinite loss has no bar."""
    snr = {_label(row): row.snr_db for row in rows if row.snr_db is not None and math.isfinite(row.snr_db)}
    loss = {_label(row): row.loss for row in rows if row.loss is not None and math.isfinite(row.loss)}
    return {
        "plot-snr": plots.bars(list(snr), list(snr.values()), "SNR, dB"),
        "plot-loss": plots.bars(list(loss), list(loss.values()), "loss of the asset"),
    }


def _label(row: Layer) -> str:
    return f"{row.component}: {row.pattern} ({row.scheme})"
