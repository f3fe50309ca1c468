"""The HTML report: everything in it, nothing blank."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from sample_pages import DARK, PLOTS, PROMPT, REPORT, SHOWN, UNKNOWN, ball, one_gaussian, part
from sample_reports import pipeline, report, times

from gen3dexport.assets import kinds
from gen3dexport.assets.depth_map import DepthMap
from gen3dexport.assets.mesh import Mesh
from gen3dexport.assets.points import Points
from gen3dexport.pages import plots as report_plots
from gen3dexport.reports.html import Shown, figures, render_html
from gen3dexport.reports.records import (
    Errors,
    Quality,
)
from gen3dexport.reports.text import to_markdown

_DEPTHS = DepthMap(np.linspace(1, 2, 64, dtype=np.float32).reshape(8, 8))
DRAWN_SOON = Shown(PROMPT, {"depth_map": _DEPTHS}, {"depth_map": _DEPTHS})
"""An asset whose picture takes no time."""


class Reader(HTMLParser):
    """Text of the page, its ids, its addresses, and whether every element is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.ids, self.addresses, self.open = "", set(), [], []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        values = dict(attributes)
        self.ids |= {values["id"]} if "id" in values else set()
        self.addresses += [values[k] for k in ("src", "href") if k in values]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += f"{data}\n"


@pytest.fixture(scope="module")
def page() -> str:
    return render_html(REPORT, SHOWN)


def test_everything_is_in_it(page: str) -> None:
    reader = Reader(page)
    assert not reader.open and reader.ids >= PLOTS
    for text in (
        "trellis-mini on executorch-xnnpack", "trellis-mini.bundle", "a CPU", "98.76 MB", "fail", PROMPT,
        "relative_l2", "≥ 0.9", "≤ 0.02", "by roofline v5e", "estimates are not accepted", "no such device",
        "int8-dynamic", "1.23", "4.56", "12.30", "no such system", "7.89", "512", "0.58 ms by roofline",
        "0.61 ms by xla", "3 warm-up, 20 runs, 2 threads", "0.003", "2e-06", "inf", "0.981", "0.0041", "0.993", "0.972",
        "98.7", "aten.cos.default × 7", "4242", "9.9.9", "9.9.8", "no TPU here",
    ):  # fmt: skip
        assert text in reader.text, text


def test_every_table_of_figures_says_their_basis(page: str) -> None:
    heads = [
        [re.sub("<[^>]*>", "", th) for th in head.split("</th>")] for head in re.findall("<thead>.*?</thead>", page)
    ]
    units = {"parameters, M", "file, MB", "peak memory, MB", "p50, ms", "FLOPs inside, %"}
    assert units <= {name for head in heads for name in head}
    figures = [head for head in heads if not {"built with", "operators inside"} & {*head}]
    assert len(figures) == 5 and all(any("basis" in name for name in head) for head in figures), heads


def test_markdown_says_every_figure_s_basis_and_unit() -> None:
    text = to_markdown(REPORT)
    assert (
        "| size, MB | measured relative L2 to quantized | measured relative L2 to fp32 | latency, ms | its basis |"
        in text
    )
    assert "| flow | int8-dynamic | 5.56 | 2e-06 | 0.003 | 7.89 (p90 9.47, p99 11.8) | measured |" in text
    assert "| flow_tpu | fp32 | 5.56 | unmeasured | unmeasured | 0.58; 0.61 | estimated |" in text
    assert "latency of flow_tpu: estimated by roofline; xla\n" in text
    assert "One asset: 512 ms measured (p90 614, p99 768)" in text
    assert f"| {PROMPT} | 0.981 | 0.993 | 0.0041 | 0.972 | measured |" in text
    assert "latency of flow: unmeasured: no sm_90 device\n" in to_markdown(DARK)


def test_kinds_are_told_apart(page: str) -> None:
    for kind in ("measured", "estimated", "unmeasured"):
        assert f'<span class="badge {kind}">{kind}</span>' in page


def test_page_fetches_nothing_and_escapes(page: str) -> None:
    assert all(address.startswith("data:image/jpeg;base64,") for address in Reader(page).addresses)
    assert "<script>alert" not in page


def test_random_weights_are_said() -> None:
    assert "random weights" in render_html(REPORT.model_copy(update={"random_weights": True}), DRAWN_SOON)


@pytest.mark.parametrize(
    "fields",
    [
        {"components": ()},
        {"budgets": ()},
        {"versions": {}, "built_with": {}},
        {"pipeline": pipeline(quality=(), stages={}, drift={}, latency=UNKNOWN)},
        {"components": (part("x", errors=Errors()),)},
        {"components": (part("x", latency=UNKNOWN),)},
        {"components": (part("x", peak_memory=UNKNOWN),)},
        {"components": (part("x", facts={}),)},
    ],
)
def test_any_part_may_be_unknown(fields: dict[str, Any]) -> None:
    reader = Reader(render_html(REPORT.model_copy(update=fields), DRAWN_SOON))
    assert not reader.open and "None" not in reader.text


def test_nothing_measured_says_why() -> None:
    reader = Reader(render_html(DARK, Shown("a mug", {}, {"mesh": ball(0.3)})))
    assert reader.text.count("no sm_90 device") >= 5
    assert "plot-latency" not in reader.ids and "plot-errors" not in reader.ids
    assert "nothing to see" in reader.text and "scene-reference-mesh" in reader.ids


def test_a_report_of_nothing_is_a_page() -> None:
    empty = report(components=(), pipeline=pipeline(quality=(), latency=UNKNOWN), built_with={}, size_bytes=0)
    assert not Reader(render_html(empty, Shown())).open


def test_every_kind_of_asset_is_shown() -> None:
    cloud = Points(np.random.default_rng(0).random((50, 3), dtype=np.float32) - 0.5)
    assets = {"depth_map": _DEPTHS, "points": cloud, "gaussians": one_gaussian(), "mesh": ball(0.3)}
    scored = {kind: kinds.of(kind).scores(asset, asset) for kind, asset in assets.items()}
    shown = REPORT.model_copy(update={"pipeline": pipeline(quality=(Quality(prompt="a mug", scores=scored),))})
    text = render_html(shown, Shown("a mug", assets, assets))
    reader = Reader(text)
    assert not reader.open and {"scene-generated-mesh", "scene-reference-mesh"} <= reader.ids
    assert text.count("data:image/jpeg;base64,") == 2 * len(assets) and text.count('class="splats"') >= 2
    for kind, found in scored.items():
        for score in found:
            assert f"{kind.replace('_', ' ')} {score.name}" in reader.text
    markdown = to_markdown(shown)
    assert "| prompt | depth map delta1 |" in markdown and "gaussians psnr, dB" in markdown


def test_latency_plot_keeps_measured_and_estimated_apart() -> None:
    figure = figures(REPORT)["plot-latency"]
    assert figure is not None
    solid = [t for t in figure["data"] if "error_x" in t]
    hollow = [t for t in figure["data"] if "error_x" not in t]
    assert all("flow_tpu" not in t["y"] for t in solid) and {t["y"][0] for t in hollow} == {"flow_tpu"}
    assert solid[1]["error_x"]["array"][0] == pytest.approx(0.2 * 7.89)
    assert solid[0]["error_x"]["array"][0] == pytest.approx(0.5 * 7.89)
    assert {t["name"] for t in hollow} == {"estimated by roofline", "estimated by xla"}


def test_what_stayed_outside_a_delegate_is_counted(page: str) -> None:
    figure = figures(REPORT)["plot-delegation"]
    assert figure is not None and [trace["x"] for trace in figure["data"]] == [[90], [9]]
    assert '<td class="n">90</td><td class="n">9</td>' in page


def test_no_operators_are_drawn_where_a_backend_counts_none() -> None:
    uncounted = report(components=(part("flow", facts={"delegation": {"outside": {"aten.cos.default": 7}}}),))
    assert figures(uncounted)["plot-delegation"] is None


def test_the_rest_of_an_asset_is_the_host_s() -> None:
    figure = figures(REPORT)["plot-stages"]
    assert figure is not None
    assert {t["name"]: t["x"][0] for t in figure["data"]}["host"] == pytest.approx(1.1 * 512 - 512)


def test_few_runs_have_no_percentiles() -> None:
    once = times(512.0).model_copy(update={"runs": 1, "warmup": 0})
    found = report(components=(part("flow", latency=UNKNOWN),), pipeline=pipeline(latency=once))
    assert "One asset: 512 ms measured (median of 1)" in to_markdown(found)
    text = render_html(found, Shown())
    assert '<td class="n">512</td><td class="n">–</td><td class="n">–</td><td class="n">563</td>' in text


def test_error_plot_shows_exact_and_infinite() -> None:
    figure = figures(REPORT)["plot-errors"]
    assert figure is not None
    bars = {t["name"]: dict(zip(t["y"], zip(t["x"], t["text"], strict=True), strict=True)) for t in figure["data"]}
    low, high = figure["layout"]["xaxis"]["range"]
    against = bars["against float32 eager"]
    assert against["text_encoder"][1] == "exact" and 10**low < against["text_encoder"][0] < 2e-6
    assert against["broken"] == (None, "not finite")
    assert against["flow"] == (3e-3, "3.0e-03") and low < np.log10(3e-3) < high
    assert bars["against its own quantized eager"]["broken"] == (None, "unmeasured")


def test_figures_are_json() -> None:
    drawn = figures(REPORT)
    assert {name for name, figure in drawn.items() if figure} == {p for p in PLOTS if p.startswith("plot-")}
    json.dumps([*drawn.values(), report_plots.scene(ball(0.3))], allow_nan=False)
    assert {*figures(report(components=(), pipeline=pipeline(latency=UNKNOWN))).values()} == {None}


def _seen(figure: dict[str, Any], points: np.ndarray, azimuth: float, elevation: float) -> np.ndarray:
    """Where the points [V, 3] are in the square view, turned: [V, 2], from -1 to 1 at its edges."""
    space = figure["layout"]["scene"]
    low, high = np.array([space[f"{axis}axis"]["range"] for axis in "xyz"]).T
    points = (points - low) / (high - low) - 0.5  # as Plotly has them in a cube of edge 1
    (sa, ca), (se, ce) = ((np.sin(angle), np.cos(angle)) for angle in np.radians([azimuth, elevation]))
    right, up, back = np.array([[-sa, ca, 0], [-se * ca, -se * sa, ce], [ce * ca, ce * sa, se]])
    distance = np.linalg.norm(list(space["camera"]["eye"].values()))
    return np.stack([points @ right, points @ up], 1) / (distance - points @ back)[:, None] / np.tan(np.radians(22.5))


@pytest.mark.parametrize("scale", [(1, 1, 1), (0.1, 0.1, 1), (8, 3, 20)])
def test_a_mesh_is_seen_whole_from_every_side(scale: tuple[float, float, float]) -> None:
    one, other = ball(0.45), ball(0.2)
    moved = [Mesh(np.float32(m.vertices * scale + 3 * np.float32(scale)), m.faces) for m in (one, other)]
    figure = report_plots.scene(moved[0])
    sides = [_seen(figure, moved[0].vertices, a, e) for a in range(0, 360, 15) for e in (-80, 0, 22, 80)]
    assert np.abs(sides).max() < 1 and np.abs(sides).max() > 0.75
    beside = report_plots.scene(moved[1], moved)
    assert beside["layout"]["scene"] == figure["layout"]["scene"]
