"""The trade-off drawn: memory against latency, quality as colour, one number a point with its name beside the plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]

MARKS = {"eager": "o", "torch.compile": "s", "bundle": "D"}
PANELS = (
    ("pipeline", "trellis-mini: one asset", "ms per asset", "loss", "asset loss, 1 - IoU against eager fp32"),
    ("blocks", "two blocks of TRELLIS's flow, 1024 wide", "ms per call", "relative_l2", "relative L2 error"),
)


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Both parts as one picture; rows that were not measured are left out.

    Raises:
        SystemExit: when matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SystemExit("the plot needs matplotlib; run: pip install matplotlib") from None

    panels = [(panel, _measured(result[panel[0]])) for panel in PANELS if _measured(result.get(panel[0], ()))]
    figure = Figure(figsize=(11.5, 4.6 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 2, squeeze=False, width_ratios=(2.6, 1))
    for (axis, beside), ((_, title, unit, key, quality), rows) in zip(axes, panels, strict=True):
        _panel(figure, axis, rows, (title, unit, key, quality))
        beside.axis("off")
        names = "\n".join(f"{i:2}  {r['variant']}" for i, r in enumerate(rows, 1))
        beside.text(0, 1, names, transform=beside.transAxes, va="top", fontsize=9, family="monospace")
        beside.legend(*axis.get_legend_handles_labels(), loc="lower left", fontsize=9, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _measured(rows: Sequence[Row]) -> list[Row]:
    return [r for r in rows if r["basis"] == "measured" and r["running_memory"]["basis"] == "measured"]


def _panel(figure: Any, axis: Any, rows: Sequence[Row], texts: tuple[str, str, str, str]) -> None:
    from matplotlib.colors import LogNorm

    title, unit, key, quality = texts
    values = [max(float(r[key]), 0.0) for r in rows]
    floor = min((v for v in values if v > 0), default=1e-6)
    norm = LogNorm(floor, max([*values, 10 * floor]))
    x = [float(r["p50_ms"]) for r in rows]
    y = [float(r["running_memory"]["bytes"]) / 1e6 for r in rows]
    drawn = None
    for kind, mark in MARKS.items():
        chosen = [i for i, r in enumerate(rows) if r["kind_of"] == kind]
        if not chosen:
            continue
        drawn = axis.scatter(
            [x[i] for i in chosen], [y[i] for i in chosen], c=[max(values[i], floor) for i in chosen], norm=norm,
            marker=mark, s=110, cmap="viridis", edgecolors="#1b2430", linewidths=0.8, label=kind, zorder=3,
        )  # fmt: skip
    for i, _ in enumerate(rows):
        axis.annotate(str(i + 1), (x[i], y[i]), xytext=(7, 5), textcoords="offset points", fontsize=9, zorder=5)
    axis.set_xscale("log")
    axis.set_yscale("log")
    for direction in (axis.xaxis, axis.yaxis):
        direction.set_major_formatter("{x:g}")
        direction.set_minor_formatter("{x:g}")
        direction.set_tick_params(which="minor", labelsize=7)
    axis.grid(True, which="both", color="#e6eaee", zorder=0)
    axis.set(title=title, xlabel=f"{unit} (p50)", ylabel="memory while running, MB above the start")
    figure.colorbar(drawn, ax=axis, label=quality, pad=0.01)
