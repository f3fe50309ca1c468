"""The HTML report: everything in it, nothing blank, and a browser that draws it without the network."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gen3dexport.assets.gaussians import Gaussians
from gen3dexport.assets.mesh import Mesh, from_occupancy_logits
from gen3dexport.pages import plots as report_plots
from gen3dexport.pages.viewer import viewer_html
from gen3dexport.reports.html import render_html

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
PROMPT = 'a mug </script><script>alert("x")</script> & more'


def ball(radius: float) -> Mesh:
    grid = (np.arange(12) + 0.5) / 12 - 0.5
    x, y, z = np.meshgrid(grid, grid, grid, indexing="ij")
    return from_occupancy_logits(radius - np.sqrt(x**2 + y**2 + z**2))


def measured(ms: float) -> dict[str, Any]:
    times = {"p50_ms": ms, "p90_ms": 1.2 * ms, "p99_ms": 1.5 * ms, "mean_ms": 1.1 * ms}
    return {"kind": "measured", "threads": 2, "warmup": 3, "runs": 20, **times}


def error(size: float) -> dict[str, Any]:
    return {"max_abs": 3 * size, "relative_l2": size, "cosine": 1 - size**2, "psnr_db": "inf" if size == 0 else 50.0}


def component(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "component": name,
        "kind": "component",
        "scheme": "fp32",
        "parameters": 1_230_000,
        "program_bytes": 4_560_000,
        "weights_bytes": 0,
        "errors": {"fp32": {"v": error(3e-3)}, "quantized": {"v": error(2e-6)}},
        "latency": measured(7.89),
        "peak_memory": {"kind": "measured", "bytes": 12_300_000},
        "missing": None,
        "facts": {"planned": 4242},
        **fields,
    }


def budget(name: str, verdict: str, **fields: Any) -> dict[str, Any]:
    base = {"name": name, "limit": 0.02, "value": 0.01, "unit": "", "kind": "measured", "by": None, "floor": False}
    return {**base, "verdict": verdict, "reason": None, **fields}


DELEGATION = {"operators_inside": 90, "operators_outside": 7, "flops_share": 0.987, "outside": {"aten.cos.default": 7}}
REPORT: dict[str, Any] = {
    "schema": 1,
    "bundle": "trellis-mini.bundle",
    "recipe": "trellis-mini",
    "target": "executorch-xnnpack",
    "backend": "executorch",
    "device": "a CPU",
    "created": "2026-01-02T03:04:05+00:00",
    "versions": {"torch": "9.9.9"},
    "built_with": {"torch": "9.9.8"},
    "random_weights": False,
    "size_bytes": 98_760_000,
    "verdict": "fail",
    "budgets": [
        budget("relative_l2", "pass"),
        budget("iou", "fail", limit=0.9, value=0.8, floor=True),
        budget("latency_ms", "unmeasured", kind="estimated", by="roofline v5e", reason="estimates are not accepted"),
        budget("peak_memory_mb", "unmeasured", value=None, kind="unmeasured", reason="no such device"),
    ],
    "components": [
        component("text_encoder", errors={"fp32": {"features": error(0)}, "quantized": {"features": error(0)}}),
        component("flow", scheme="int8-dynamic", facts={"delegation": DELEGATION}),
        component("decoder", peak_memory={"kind": "unmeasured", "reason": "no such system"}),
        component(
            "flow_tpu",
            kind="twin",
            errors={},
            missing="no TPU here",
            latency={
                "kind": "estimated",
                "estimates": [{"value": 0.58, "by": "roofline"}, {"value": 0.61, "by": "xla"}],
            },
        ),
        component("broken", errors={"fp32": {"v": {**error(1), "relative_l2": "inf", "cosine": "nan"}}}),
    ],
    "pipeline": {
        "prompts": [PROMPT],
        "seed": 0,
        "missing": None,
        "quality": [
            {"prompt": PROMPT, "iou": 0.981, "chamfer": 0.0041, "f_score": 0.993, "normal_consistency": 0.972},
            {"prompt": "nothing", "iou": 0.0, "chamfer": "inf", "f_score": 0.0, "normal_consistency": 0.0},
        ],
        "latency": measured(512.0),
        "stages": {"text_encoder": 18.0, "flow": 450.0, "decoder": 44.0},
    },
}
ASSETS = {"generated": ball(0.3), "reference": ball(0.32), "prompt": PROMPT}
PLOTS = {"plot-latency", "plot-stages", "plot-errors", "plot-delegation", "scene-generated", "scene-reference"}


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
    return render_html(REPORT, ASSETS)


def test_everything_is_in_it(page: str) -> None:
    reader = Reader(page)
    assert not reader.open and reader.ids >= PLOTS
    for text in (
        "trellis-mini on executorch-xnnpack", "trellis-mini.bundle", "a CPU", "98.76 MB", "fail", PROMPT,
        "relative_l2", "≥ 0.9", "≤ 0.02", "by roofline v5e", "estimates are not accepted", "no such device",
        "int8-dynamic", "1.23 M", "4.56 MB", "12.30 MB", "no such system", "7.89 ms", "512 ms", "0.58 ms by roofline",
        "0.61 ms by xla", "3 warm-up, 20 runs, 2 threads", "0.003", "2e-06", "inf", "0.981", "0.0041", "0.993", "0.972",
        "98.7 %", "aten.cos.default × 7", "4242", "9.9.9", "9.9.8", "no TPU here",
    ):  # fmt: skip
        assert text in reader.text, text


def test_kinds_are_told_apart(page: str) -> None:
    for kind in ("measured", "estimated", "unmeasured"):
        assert f'<span class="badge {kind}">{kind}</span>' in page


def test_page_fetches_nothing_and_escapes(page: str) -> None:
    assert all(address.startswith("data:image/jpeg;base64,") for address in Reader(page).addresses)
    assert "<script>alert" not in page


def test_random_weights_are_said() -> None:
    assert "random weights" in render_html({**REPORT, "random_weights": True}, ASSETS)


@pytest.mark.parametrize("key", sorted(REPORT))
def test_any_part_may_be_missing(key: str) -> None:
    reader = Reader(render_html({k: v for k, v in REPORT.items() if k != key}, ASSETS))
    assert not reader.open and "None" not in reader.text


@pytest.mark.parametrize("key", sorted(k for k in component("x") if k != "name"))
def test_any_field_of_a_component_may_be_missing(key: str) -> None:
    report = copy.deepcopy(REPORT)
    for part in report["components"]:
        part.pop(key)
    reader = Reader(render_html(report, ASSETS))
    assert not reader.open and "None" not in reader.text


def test_nothing_measured_says_why() -> None:
    report = {"recipe": "r", "target": "cuda-sm90", "verdict": "unmeasured", "pipeline": {"missing": "no sm_90 device"}}
    report["components"] = [{"name": "flow", "missing": "no sm_90 device"}]
    reader = Reader(render_html(report, {"generated": None, "reference": ball(0.3), "prompt": "a mug"}))
    assert reader.text.count("no sm_90 device") >= 5
    assert "plot-latency" not in reader.ids and "plot-errors" not in reader.ids
    assert "no surface" in reader.text


def test_empty_report_is_a_page() -> None:
    assert not Reader(render_html({}, {})).open


def test_latency_plot_keeps_measured_and_estimated_apart() -> None:
    figure = report_plots.latency(REPORT["components"])
    assert figure is not None
    solid = [t for t in figure["data"] if "error_x" in t]
    hollow = [t for t in figure["data"] if "error_x" not in t]
    assert all("flow_tpu" not in t["y"] for t in solid) and {t["y"][0] for t in hollow} == {"flow_tpu"}
    assert solid[1]["error_x"]["array"][0] == pytest.approx(0.2 * 7.89)
    assert solid[0]["error_x"]["array"][0] == pytest.approx(0.5 * 7.89)
    assert {t["name"] for t in hollow} == {"estimated by roofline", "estimated by xla"}


def test_error_plot_shows_exact_and_infinite() -> None:
    figure = report_plots.errors(REPORT["components"])
    assert figure is not None
    bars = {t["name"]: dict(zip(t["y"], zip(t["x"], t["text"], strict=True), strict=True)) for t in figure["data"]}
    low, high = figure["layout"]["xaxis"]["range"]
    against = bars["against float32 eager"]
    assert against["text_encoder"][1] == "exact" and 10**low < against["text_encoder"][0] < 2e-6
    assert against["broken"] == (None, "not finite")
    assert against["flow"] == (3e-3, "3.0e-03") and low < np.log10(3e-3) < high
    assert bars["against its own quantized eager"]["broken"] == (None, "unmeasured")


def test_figures_are_json() -> None:
    for figure in (report_plots.latency, report_plots.errors, report_plots.delegation):
        json.dumps(figure(REPORT["components"]), allow_nan=False)
    json.dumps(report_plots.scene(ball(0.3)), allow_nan=False)
    assert report_plots.latency([]) is report_plots.errors([]) is report_plots.delegation([]) is None


def one_gaussian() -> Gaussians:
    one = np.float32([[1, 1, 1]])
    return Gaussians(0 * one, 0.2 * one, np.float32([[1, 0, 0, 0]]), np.float32([0.9]), one[:, None])


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium: apt-get install chromium, or $CHROMIUM")
@pytest.mark.parametrize("which", ["full", "empty", "gaussians"])
def test_chromium_draws_it_offline(which: str, page: str, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    pages = {"full": page, "empty": render_html({}, {}), "gaussians": viewer_html(one_gaussian(), "one")}
    path.write_text(pages[which])
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
        f"--user-data-dir={tmp_path / 'profile'}", "--enable-unsafe-swiftshader", "--use-angle=swiftshader",
        "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--window-size=1100,1600",
        "--virtual-time-budget=30000", "--timeout=240000", "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    root = re.search(r"<html[^>]*>", done.stdout)
    assert root is not None, done.stderr[-2000:]
    assert 'data-ready="yes"' in root[0] and "data-failures" not in root[0], root[0]
    advice = ("willReadFrequently", "GL Driver Message")  # Chromium's, on speed
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    assert not [line for line in console if not any(a in line for a in advice)], console
    drawn = set(re.findall(r'id="([\w-]+)"[^>]*data-drawn="yes"', done.stdout))
    if which == "gaussians":
        assert ('class="splats" data-rows' in done.stdout) is ('data-drawn="yes"' in done.stdout)
        return
    if which == "empty":
        assert not drawn
        return
    assert drawn >= {name for name in PLOTS if name.startswith("plot-")}
    scenes = {name for name in PLOTS if name.startswith("scene-")}
    if 'data-webgl="true"' in root[0]:
        assert drawn >= scenes and done.stdout.count("<canvas") >= len(scenes)
    else:  # the still pictures stay
        assert done.stdout.count("data:image/jpeg") == len(scenes)
