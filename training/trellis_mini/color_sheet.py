"""Pictures of coloured assets: unlit ones for scores, lit ones with captions for people, and the training curves."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from gen3dexport.assets.draw.gaussian_render import render_gaussians
from gen3dexport.assets.draw.rasterise import rasterise
from gen3dexport.assets.draw.render import camera_axes, framing, render
from gen3dexport.assets.gaussians import Gaussians
from gen3dexport.assets.mesh import Mesh
from training.trellis_mini.plots import panel

_PAPER, _INK = (250, 250, 250), (40, 40, 40)
_FRONT_RIGHT, _ELEVATION = -52.0, 26.0


def flat_picture(mesh: Mesh, azimuth: float, elevation: float, size: int) -> NDArray[np.float64]:
    """The mesh's colours without light [size, size, 3] on white, from the camera of `gaussian_render.splat`."""
    assert mesh.colors is not None
    pixels = 2 * size
    right, up, back = camera_axes(azimuth, elevation)
    distance, focal = framing(math.sqrt(0.75), pixels)
    vertices = mesh.vertices.astype(np.float64)
    near = 1 / (distance - vertices @ back)
    column = pixels / 2 + focal * (vertices @ right) * near
    row = pixels / 2 - focal * (vertices @ up) * near
    face, weights = rasterise(np.stack([column, row, near], axis=1), mesh.faces, pixels, pixels)
    drawn = face >= 0
    image = np.ones((pixels, pixels, 3))
    corners = mesh.colors[mesh.faces[face[drawn]]] / 255
    image[drawn] = np.einsum("nk,nkd->nd", weights[drawn], corners)
    mean: NDArray[np.float64] = image.reshape(size, 2, size, 2, 3).mean(axis=(1, 3))
    return mean


def color_sheet(items: Sequence[tuple[Mesh, Gaussians, str]], columns: int = 4, size: int = 190) -> Image.Image:
    """Each item's mesh (left) and Gaussians (right) with its caption underneath."""
    rows, label = -(-len(items) // columns), 58
    out = Image.new("RGB", (columns * 2 * size, rows * (size + label)), _PAPER)
    pen = ImageDraw.Draw(out)
    for i, (mesh, gaussians, text) in enumerate(items):
        x, y = i % columns * 2 * size, i // columns * (size + label)
        out.paste(Image.fromarray(render(mesh, _FRONT_RIGHT, _ELEVATION, size)), (x, y))
        out.paste(Image.fromarray(render_gaussians(gaussians, _FRONT_RIGHT, _ELEVATION, size)), (x + size, y))
        lines = textwrap.wrap(text, 2 * size // 6)[:4]
        pen.multiline_text((x + 4, y + size + 2), "\n".join(lines), fill=_INK, spacing=1)
    return out


def color_curves(run: Path, path: Path) -> None:
    """Losses (blue, logarithmic) and scores (orange, 0 to 1) of the four trainings against the step."""
    image = Image.new("RGB", (1100, 760), (255, 255, 255))
    pen = ImageDraw.Draw(image)
    panels: tuple[tuple[str, str, str | None, str], ...] = (
        ("structure_report.json", "loss", "held_out_iou", "structure flow, colours in captions: loss, held-out IoU"),
        ("slat_encoder_report.json", "loss", None, "structured latent's encoder and probe: loss"),
        ("slat_decoders_report.json", "loss", None, "decoders of the structured latent: loss"),
        ("slat_flow_report.json", "loss", "accent", "structured latent's flow: loss, share of right accent colours"),
    )
    for i, (name, loss, score, title) in enumerate(panels):
        history: list[dict[str, Any]] = json.loads((run / name).read_text())["history"]
        curve = [(row["step"], row[loss]) for row in history]
        dots = [(row["step"], row[score]) for row in history if score in row]
        left, top = 60 + 545 * (i % 2), 40 + 380 * (i // 2)
        panel(pen, (left, top, left + 440, top + 300), title, curve, dots)
    image.quantize(32).save(path, optimize=True)
