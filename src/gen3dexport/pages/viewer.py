"""Pages that show one asset, meshes and 3D Gaussians in 3D; they need no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from html import escape
from typing import Any

from gen3dexport.assets import kinds
from gen3dexport.assets.file_format import FileFormat
from gen3dexport.assets.gaussian_files import splat_rows
from gen3dexport.assets.gaussians import Gaussians
from gen3dexport.assets.mesh import Mesh
from gen3dexport.pages import plots
from gen3dexport.pages.page import SPLATS, page, section


def viewer_html(asset: Any, title: str) -> str:
    """A page with the asset: to turn (drag) and zoom (wheel) where it is a mesh or Gaussians, else its picture."""
    drawn: dict[str, plots.Figure | None] = {}
    note = '<p class="soft small">Drag to turn, wheel to zoom.</p>'
    match asset:
        case Mesh():
            drawn["scene-asset"] = plots.scene(asset)
            place = f'<div class="scene" id="scene-asset"><img alt="asset" src="{still(asset)}"></div>'
        case Gaussians():
            place = splat_scene(asset, "asset")
        case _:
            place, note = f'<img alt="asset" src="{still(asset)}">', ""
    return page(title or "asset", [section(escape(title or "asset"), place, note)], drawn)


FILES: Mapping[str, FileFormat] = {".html": FileFormat(lambda asset, title: viewer_html(asset, title).encode())}
"""The ending of pages, for assets of every kind."""


def splat_scene(gaussians: Gaussians, alternative: str) -> str:
    """Gaussians as HTML: a canvas to turn, and a still picture where there is no WebGL 2."""
    rows = base64.b64encode(splat_rows(gaussians, frame=None)).decode()
    return (
        f'<div class="scene"><img alt="{escape(alternative)}" src="{still(gaussians)}">'
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
