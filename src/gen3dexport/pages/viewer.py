"""Pages that show one asset, meshes and 3D Gaussians in 3D; they need no network."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from gen3dexport.assets import kinds
from gen3dexport.assets.file_format import FileFormat
from gen3dexport.assets.gaussian_files import splat_rows
from gen3dexport.assets.gaussians import Gaussians
from gen3dexport.assets.mesh import Mesh
from gen3dexport.assets.sequence import AssetSequence
from gen3dexport.pages import plots
from gen3dexport.pages.page import SPLATS, page, section


def viewer_html(asset: Any, title: str) -> str:
    """A page with the asset: to turn (drag) and zoom (wheel) where it is a mesh or Gaussians, else its picture.

    A sequence has a slider of its moments, and a button that plays them.
    """
    drawn: dict[str, plots.Figure | None] = {}
    note = '<p class="soft small">Drag to turn, wheel to zoom.</p>'
    match asset:
        case Mesh():
            drawn["scene-asset"] = plots.scene(asset)
            place = f'<div class="scene" id="scene-asset"><img alt="asset" src="{still(asset)}"></div>'
        case Gaussians():
            place = splat_scene([asset], "asset")
        case AssetSequence(items=items) if isinstance(items[0], Mesh):
            drawn["scene-asset"] = plots.scene_over_time([item for item in items if isinstance(item, Mesh)])
            place = f'<div class="scene" id="scene-asset"><img alt="asset" src="{still(items[0])}"></div>'
        case AssetSequence(items=items) if isinstance(items[0], Gaussians):
            place = splat_scene([item for item in items if isinstance(item, Gaussians)], "asset")
        case AssetSequence(items=items):
            stills = "".join(f'<img alt="moment {k}" src="{still(item)}">' for k, item in enumerate(items))
            place, note = f'<div class="scene"><div class="moments">{stills}</div></div>', ""
        case _:
            place, note = f'<img alt="asset" src="{still(asset)}">', ""
    film = _film(asset) if isinstance(asset, AssetSequence) and len(asset.items) > 1 else ""
    return page(title or "asset", [section(escape(title or "asset"), place, film, note)], drawn)


def _film(sequence: AssetSequence) -> str:
    """The slider of a sequence's moments; it stands behind what it changes."""
    times = [round(float(time), 6) for time in sequence.times]
    return (
        f'<div class="film" data-times="{json.dumps(times)}"><button type="button">Play</button>'
        f'<input type="range" min="0" max="{len(times) - 1}" value="0" aria-label="moment"><output></output></div>'
    )


FILES: Mapping[str, FileFormat] = {".html": FileFormat(lambda asset, title: viewer_html(asset, title).encode())}
"""The ending of pages, for assets of every kind."""


def splat_scene(moments: Sequence[Gaussians], alternative: str) -> str:
    """Gaussians of a moment or of several as HTML: a canvas to turn, and a still picture where there is no WebGL 2."""
    rows = " ".join(base64.b64encode(splat_rows(gaussians, frame=None)).decode() for gaussians in moments)
    return (
        f'<div class="scene"><img alt="{escape(alternative)}" src="{still(moments[0])}">'
        f'<canvas {SPLATS} hidden data-rows="{rows}"></canvas></div>'
    )


def still(asset: Any) -> str:
    """A picture as a data URL: what is seen without WebGL and while scripts load."""
    from PIL import Image

    from gen3dexport.assets.draw.gaussian_render import render_gaussians
    from gen3dexport.assets.draw.render import render

    match asset:
        case Mesh():
            picture = render(asset, size=360)
        case Gaussians():
            picture = render_gaussians(asset, size=360)
        case _:
            picture = kinds.of(asset).picture(asset)
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
