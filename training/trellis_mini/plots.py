"""The loss-curve picture of the model card, drawn with Pillow."""

from __future__ import annotations

import json
import math
from pathlib import Path

from PIL import Image, ImageDraw

_INK, _GRID, _LINE, _DOT = (40, 40, 40), (225, 225, 225), (52, 101, 164), (204, 102, 0)


def panel(
    pen: ImageDraw.ImageDraw,
    area: tuple[int, int, int, int],
    title: str,
    curve: list[tuple[float, float]],
    dots: list[tuple[float, float]],
) -> None:
    """One chart: `curve` on a logarithmic axis (left), `dots` from 0 to 1 (right)."""
    left, top, right, bottom = area
    last = max(x for x, _ in curve)
    low, high = math.log10(min(y for _, y in curve)), math.log10(max(y for _, y in curve))

    def place(x: float, share: float) -> tuple[float, float]:
        return left + (right - left) * x / last, bottom - (bottom - top) * share

    for i in range(6):
        y = bottom - (bottom - top) * i / 5
        pen.line([(left, y), (right, y)], fill=_GRID)
        pen.text((left - 46, y - 6), f"{10 ** (low + (high - low) * i / 5):.3g}", fill=_LINE)
        pen.text((right + 6, y - 6), f"{i / 5:.1f}", fill=_DOT)
        pen.text((left + (right - left) * i / 5 - 12, bottom + 6), f"{last * i / 5:.0f}", fill=_INK)
    pen.line([place(x, (math.log10(y) - low) / max(high - low, 1e-9)) for x, y in curve], fill=_LINE, width=2)
    for x, y in dots:
        cx, cy = place(x, y)
        pen.ellipse([cx - 3, cy - 3, cx + 3, cy + 3], fill=_DOT)
    pen.rectangle([left, top, right, bottom], outline=_INK)
    pen.text((left, top - 18), title, fill=_INK)


def loss_curve(run: Path, path: Path) -> None:
    """Draw the VAE's and the flow's history: loss (blue, logarithmic) and IoU (orange) against the step."""
    image = Image.new("RGB", (1100, 380), (255, 255, 255))
    pen = ImageDraw.Draw(image)
    panels = (
        ("vae_report.json", "iou", "structure VAE: loss (blue), IoU of the training batch (orange)"),
        ("flow_report.json", "held_out_iou", "flow: loss (blue), held-out IoU of the EMA weights (orange)"),
    )
    for i, (name, score, title) in enumerate(panels):
        history = json.loads((run / name).read_text())["history"]
        curve = [(row["step"], row["loss"]) for row in history]
        dots = [(row["step"], row[score]) for row in history if score in row]
        panel(pen, (60 + 545 * i, 40, 500 + 545 * i, 340), title, curve, dots)
    image.quantize(32).save(path, optimize=True)
