"""A browser draws the report and the viewer without the network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from sample_pages import DARK, PLOTS, REPORT, SHOWN, one_gaussian

from gen3dexport.pages.viewer import viewer_html
from gen3dexport.reports.html import Shown, render_html

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium: apt-get install chromium, or $CHROMIUM")
@pytest.mark.parametrize("which", ["full", "empty", "gaussians"])
def test_chromium_draws_it_offline(which: str, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    pages = {
        "full": lambda: render_html(REPORT, SHOWN),
        "empty": lambda: render_html(DARK, Shown()),
        "gaussians": lambda: viewer_html(one_gaussian(), "one"),
    }
    path.write_text(pages[which]())
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
