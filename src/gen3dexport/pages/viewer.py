"""Pages that show one asset in 3D: a mesh, or 3D Gaussians; they need no network."""

from __future__ import annotations

from html import escape

from gen3dexport.assets.gaussians import Gaussians
from gen3dexport.assets.mesh import Mesh
from gen3dexport.pages import plots as report_plots
from gen3dexport.reports import html as report_html


def viewer_html(asset: Mesh | Gaussians, title: str) -> str:
    """A page with the asset to turn (drag) and zoom (wheel)."""
    drawn: dict[str, report_plots.Figure | None] = {}
    if isinstance(asset, Mesh):
        drawn["scene-asset"] = report_plots.scene(asset)
        place = f'<div class="scene" id="scene-asset"><img alt="asset" src="{report_html.still(asset)}"></div>'
    else:
        place = report_html.splat_scene(asset, "asset")
    note = '<p class="soft small">Drag to turn, wheel to zoom.</p>'
    return report_html.page(title or "asset", [report_html.section(escape(title or "asset"), place, note)], drawn)
