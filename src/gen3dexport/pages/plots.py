"""The plots of an HTML report, as Plotly figures in JSON form. No plotly import: it only draws in the browser."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gen3dexport.assets.mesh import Mesh

Figure = dict[str, Any]
Figures = dict[str, Figure | None]
"""By the place where they go on a page; None where there is nothing to plot."""

_BLUE, _AMBER, _GREEN, _VIOLET, _GREY = "#2455c3", "#d98a1f", "#1f8a70", "#6b3fa0", "#9aa5b1"
_RED, _SKY, _OLIVE = "#b5413c", "#5aa9d6", "#8a8f2a"
_FONT = {"family": "system-ui, sans-serif", "size": 13, "color": "#1b2430"}
_CLAY = "#cf9068"
_FIELD_OF_VIEW = math.radians(45)
"""Of Plotly's camera, from the lower to the upper edge; what it sees has edges of 1."""
_DISTANCE = 1.05 * 0.5 / math.sin(_FIELD_OF_VIEW / 2)
"""Of the camera from the middle: a ball of diameter 1 leaves a twentieth free."""
_AZIMUTH, _ELEVATION = math.radians(35), math.radians(22)
_EYE = (
    _DISTANCE * math.cos(_ELEVATION) * math.cos(_AZIMUTH),
    _DISTANCE * math.cos(_ELEVATION) * math.sin(_AZIMUTH),
    _DISTANCE * math.sin(_ELEVATION),
)


def latency(
    measured: Mapping[str, tuple[float, float, float]], estimated: Sequence[tuple[str, str, float]]
) -> Figure | None:
    """Median times with whiskers to p90 and p99; estimates as hollow marks of their own, one colour per cost model.

    Args:
        measured: program -> p50, p90 and p99 in ms.
        estimated: (program, cost model, ms).
    """
    traces: list[Figure] = []
    if measured:
        names, p50 = list(measured), [t[0] for t in measured.values()]
        for place, width, thickness in ((2, 1.5, 8), (1, 5, 0)):
            beyond = [max(t[place] - t[0], 0.0) for t in measured.values()]
            whisker = {"type": "data", "symmetric": False, "array": beyond, "arrayminus": [0] * len(beyond)}
            traces.append(
                {
                    "type": "scatter", "mode": "markers", "x": p50, "y": names, "showlegend": place == 1,
                    "name": "measured p50, bar to p90, whisker to p99", "hoverinfo": "x+y",
                    "marker": {"color": _BLUE, "size": 11},
                    "error_x": {**whisker, "color": _BLUE, "thickness": width, "width": thickness},
                }
            )  # fmt: skip
    for k, by in enumerate(sorted({by for _, by, _ in estimated})):
        points = [(name, ms) for name, other, ms in estimated if other == by]
        traces.append(
            {
                "type": "scatter", "mode": "markers", "name": f"estimated by {by}", "hoverinfo": "x+y",
                "x": [v for _, v in points], "y": [n for n, _ in points],
                "marker": {"symbol": "diamond-open", "size": 13, "color": (_VIOLET, _AMBER, _GREEN)[k % 3],
                           "line": {"width": 2}},
            }
        )  # fmt: skip
    if not traces:
        return None
    figure = _figure(traces, "ms (logarithmic)", rows=len({*measured, *(name for name, _, _ in estimated)}), log=True)
    ticks = [digit * 10.0**decade for decade in range(-4, 7) for digit in (1, 2, 5)]
    labels = [f"{tick:,.10g}" for tick in ticks]
    figure["layout"]["xaxis"] |= {"tickmode": "array", "tickvals": ticks, "ticktext": labels}
    return figure


def errors(found: Mapping[str, Mapping[str, float | None]]) -> Figure | None:
    """Bars of the worst output's relative L2 error, logarithmic: against float32 and against the quantized eager.

    Args:
        found: `fp32` and `quantized` -> program -> error, None where nothing was compared; of the same programs.
    """
    traces = []
    rows = list(found["fp32"])
    drawable = [v for values in found.values() for v in values.values() if v is not None and 0 < v < math.inf]
    floor = 10 ** math.floor(math.log10(min(drawable)) - 0.3) if drawable else 1e-9
    for kind, name, color in (
        ("quantized", "against its own quantized eager", _GREEN),
        ("fp32", "against float32 eager", _BLUE),
    ):
        values = list(found[kind].values())
        if all(v is None for v in values):
            continue
        traces.append(
            {
                "type": "bar", "orientation": "h", "name": name, "y": rows, "marker": {"color": color},
                "x": [floor * 1.15 if v == 0 else v if v is not None and v < math.inf else None for v in values],
                "text": [_error_label(v) for v in values], "textposition": "auto", "hoverinfo": "y+text",
                "base": None,
            }
        )  # fmt: skip
    if not traces:
        return None
    top = 10 ** math.ceil(math.log10(max(drawable, default=1e-6)) + 0.2)
    figure = _figure(traces, "relative L2 error (logarithmic)", rows=2 * len(rows), log=True)
    figure["layout"]["xaxis"]["range"] = [math.log10(floor), math.log10(top)]
    return figure


def drift(found: Mapping[str, Sequence[Sequence[float | None]]]) -> Figure | None:
    """Signal to noise of a sampler's latent against float32 after each step, one line per golden prompt; steps where
    both are equal, the noise they begin at among them, have no point."""
    colors, traces = (_BLUE, _AMBER, _GREEN, _VIOLET, _GREY), []
    for name, prompts in found.items():
        for k, ratios in enumerate(prompts):
            points = [(step, ratio) for step, ratio in enumerate(ratios) if ratio is not None]
            if points:
                x, y = ([p[axis] for p in points] for axis in (0, 1))
                line = {"color": colors[k % len(colors)], "dash": "solid" if name == next(iter(found)) else "dot"}
                trace = {"type": "scatter", "mode": "lines+markers", "name": f"{name}, prompt {k + 1}", "line": line}
                traces.append({**trace, "x": x, "y": y, "hoverinfo": "x+y+name"})
    if not traces:
        return None
    figure = _figure(traces, "sampler steps done", rows=7)
    title = {"text": "SNR of the latent, dB"}
    figure["layout"]["yaxis"] = {"title": title, "automargin": True, "gridcolor": "#e6eaee"}
    figure["layout"]["xaxis"] |= {"dtick": 1} if max(len(r) for p in found.values() for r in p) < 30 else {}
    return figure


def delegation(operators: Mapping[str, tuple[int, int]]) -> Figure | None:
    """Operators inside and outside the delegate, stacked, per program; None when no program says."""
    if not operators:
        return None
    names = list(operators)
    traces = [
        {
            "type": "bar", "orientation": "h", "name": title, "y": names, "marker": {"color": color},
            "x": [counts[place] for counts in operators.values()], "hoverinfo": "x+y+name",
        }
        for place, (title, color) in enumerate((("inside the delegate", _GREEN), ("outside", _AMBER)))
    ]  # fmt: skip
    figure = _figure(traces, "operators", rows=len(operators))
    figure["layout"]["barmode"] = "stack"
    return figure


def stages(times: Mapping[str, float]) -> Figure | None:
    """Where the time of one asset goes: one stacked bar."""
    if not times:
        return None
    colors = (_GREY, _BLUE, _GREEN, _AMBER, _VIOLET, _RED, _SKY, _OLIVE)
    traces = [
        {
            "type": "bar", "orientation": "h", "name": name, "y": ["one asset"], "x": [ms],
            "marker": {"color": colors[k % len(colors)]}, "hoverinfo": "x+name",
        }
        for k, (name, ms) in enumerate(times.items())
    ]  # fmt: skip
    figure = _figure(traces, "ms", rows=1)
    figure["layout"]["barmode"] = "stack"
    return figure


def stacked(rows: Mapping[str, Mapping[str, float]], title: str) -> Figure | None:
    """One bar per row, of parts that have the same colour in every row; the parts in the order of their first row."""
    if not rows:
        return None
    colors = (_BLUE, _GREEN, _AMBER, _VIOLET, _SKY, _RED, _OLIVE, "#c77ba8", "#4d6b8a", "#b8a15a", "#7fb8a4", "#d5785f")
    names = list(dict.fromkeys(name for parts in rows.values() for name in parts))
    traces = [
        {
            "type": "bar", "orientation": "h", "name": name, "y": list(rows), "hoverinfo": "x+y+name",
            "x": [parts.get(name, 0.0) for parts in rows.values()],
            "marker": {"color": colors[k] if k < len(colors) else _GREY},
        }
        for k, name in enumerate(names)
    ]  # fmt: skip
    figure = _figure(traces, title, rows=len(rows) + 1)
    figure["layout"]["barmode"] = "stack"
    return figure


def bars(labels: Sequence[str], values: Sequence[float], title: str) -> Figure | None:
    """One bar per label."""
    if not labels:
        return None
    trace = {"type": "bar", "orientation": "h", "x": list(values), "y": list(labels), "marker": {"color": _BLUE}}
    return _figure([{**trace, "hoverinfo": "x+y", "showlegend": False}], title, rows=len(labels))


@dataclass(frozen=True)
class Point:
    """A candidate: its name, place and loss, and whether it is of one scheme and whether it was chosen."""

    name: str
    x: float
    loss: float
    uniform: bool
    chosen: bool


def pareto(points: Sequence[Point], title: str, names: tuple[str, str] = ("uniform", "mixed")) -> Figure | None:
    """Loss against a quantity: uniform choices (squares), mixed ones (circles), and the chosen one (star).

    Args:
        names: of the first two in the legend.
    """
    traces = []
    uniform, mixed = names
    for name, symbol, color, kept in (
        (uniform, "square", _AMBER, [p for p in points if p.uniform and not p.chosen]),
        (mixed, "circle", _BLUE, [p for p in points if not p.uniform and not p.chosen]),
        ("chosen", "star", _GREEN, [p for p in points if p.chosen]),
    ):
        if kept:
            trace = {"type": "scatter", "mode": "markers", "name": name, "text": [p.name for p in kept]}
            place = {"x": [p.x for p in kept], "y": [p.loss for p in kept], "hoverinfo": "text+x+y"}
            traces.append({**trace, **place, "marker": {"symbol": symbol, "size": 12, "color": color}})
    if not traces:
        return None
    figure = _figure(traces, title, rows=8)
    figure["layout"]["yaxis"] = {"title": {"text": "loss of the asset"}, "automargin": True, "gridcolor": "#e6eaee"}
    return figure


def scene(mesh: Mesh, beside: Sequence[Mesh] = ()) -> Figure:
    """A mesh to turn, z up, seen from the azimuth and elevation of the still pictures.

    The view holds a ball around the mesh however it is turned; meshes `beside` it are seen at the same scale.
    """
    center, radius = _ball([mesh, *beside])
    points = np.round(mesh.vertices.astype(np.float64), 4)
    color: Figure = {"color": _CLAY}
    if mesh.colors is not None:
        color = {"vertexcolor": [f"rgb({r},{g},{b})" for r, g, b in mesh.colors.tolist()]}
    x, y, z = (points[:, k].tolist() for k in range(3))
    i, j, k = (mesh.faces[:, c].tolist() for c in range(3))
    light = {"ambient": 0.55, "diffuse": 0.75, "specular": 0.12, "roughness": 0.6, "fresnel": 0.1}
    axes = {
        f"{name}axis": {"visible": False, "range": [middle - radius, middle + radius]}
        for name, middle in zip("xyz", center, strict=True)
    }
    return {
        "scene": True,
        "data": [
            {
                "type": "mesh3d", "x": x, "y": y, "z": z, "i": i, "j": j, "k": k, **color, "lighting": light,
                "flatshading": False, "hoverinfo": "skip", "lightposition": {"x": 2000, "y": -1500, "z": 4000},
            }
        ],
        "layout": {
            "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
            "paper_bgcolor": "#eef1f4",
            "scene": {
                **axes, "aspectmode": "cube", "dragmode": "turntable",
                "camera": {"eye": dict(zip("xyz", _EYE, strict=True)), "center": {"x": 0, "y": 0, "z": 0}},
            },
        },
    }  # fmt: skip


def scene_over_time(meshes: Sequence[Mesh]) -> Figure:
    """Meshes of moments in one place, the first of them shown; one camera sees all of them."""
    figures = [scene(mesh, meshes) for mesh in meshes]
    data = [{**figure["data"][0], "visible": k == 0} for k, figure in enumerate(figures)]
    return {**figures[0], "data": data, "moments": True}


def _ball(meshes: Sequence[Mesh]) -> tuple[list[float], float]:
    """Center and radius of a ball around what the faces of all meshes use: that of their bounding box."""
    used = np.concatenate([mesh.vertices[np.unique(mesh.faces)] for mesh in meshes]).astype(np.float64)
    center = (used.min(0) + used.max(0)) / 2
    return center.tolist(), float(np.linalg.norm(used - center, axis=1).max())


def _figure(traces: Sequence[Figure], title: str, rows: int, log: bool = False) -> Figure:
    axis: Figure = {"title": {"text": title}, "gridcolor": "#e6eaee", "zeroline": False, "automargin": True}
    if log:
        axis |= {"type": "log", "dtick": 1, "exponentformat": "power", "minor": {"showgrid": False}}
    return {
        "data": list(traces),
        "layout": {
            "height": 120 + 34 * max(rows, 1),
            "margin": {"l": 10, "r": 16, "t": 8, "b": 10},
            "font": _FONT,
            "xaxis": axis,
            "yaxis": {"automargin": True, "autorange": "reversed", "type": "category", "ticksuffix": "  "},
            "barmode": "group",
            "bargap": 0.35,
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
            "plot_bgcolor": "#fff",
            "paper_bgcolor": "#fff",
        },
    }


def _error_label(value: float | None) -> str:
    if value is None:
        return "unmeasured"
    if value == 0:
        return "exact"
    return f"{value:.1e}" if math.isfinite(value) else "not finite"
