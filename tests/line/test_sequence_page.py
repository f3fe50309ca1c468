"""A browser draws a sequence's page without the network: the slider changes what is seen, and the button plays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from chromium import CHROMIUM, Page

from gen3dexport.assets.gaussians import SH_C0, Gaussians
from gen3dexport.assets.sequence import AssetSequence
from gen3dexport.pages.viewer import viewer_html

COLOR = """(() => { const c = document.querySelector("canvas"), p = new Uint8Array(4), gl = c.getContext("webgl2");
  gl.readPixels(c.width / 2, c.height / 2, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, p); return [...p]; })()"""
SLIDE = """(() => { const s = document.querySelector(".film input"); s.value = 1;
  s.dispatchEvent(new Event("input")); })()"""


def _ball(color: tuple[float, float, float], count: int) -> Gaussians:
    """Gaussians of one colour in the middle; moments may have different numbers of them."""
    sh = np.tile((np.array(color) - 0.5) / SH_C0, (count, 1, 1))
    parts = np.zeros((count, 3)), np.full((count, 3), 0.15), np.tile([1.0, 0, 0, 0], (count, 1)), np.ones(count), sh
    return Gaussians(*(values.astype(np.float32) for values in parts))


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium: apt-get install chromium, or $CHROMIUM")
def test_the_slider_shows_another_moment(tmp_path: Path) -> None:
    sequence = AssetSequence((_ball((1, 0, 0), 2), _ball((0, 0, 1), 5)), np.array([0.0, 0.25]))
    path = tmp_path / "film.html"
    path.write_text(viewer_html(sequence, "film"))
    with Page() as page:
        page.go(path.as_uri())
        page.wait("document.documentElement.dataset.ready === 'yes'")
        assert page.value("document.documentElement.dataset.failures") is None
        assert page.value('document.querySelector(".film output").textContent') == "0.00 s"
        if page.value('document.querySelector("canvas").hidden'):
            pytest.skip("this Chromium has no WebGL 2: the still picture stays")
        red = page.wait(f"(c => c[0] > 200 && c)({COLOR})")
        assert red[2] < 50
        page.value(SLIDE)
        blue = page.wait(f"(c => c[2] > 200 && c)({COLOR})")
        assert blue[0] < 50
        assert page.value('document.querySelector(".film output").textContent') == "0.25 s"
        page.value('document.querySelector(".film button").click()')
        page.wait('document.querySelector(".film").dataset.shown === "0"')
