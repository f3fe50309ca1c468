"""Depth Anything V2 small: golden sets as checkpoint folders, in either layout, and a recipe."""

from __future__ import annotations

from pathlib import Path

import tiny_depth
from tiny_depth import configured

__all__ = ["GOLDEN", "checkpoint", "configured", "recipe"]

GOLDEN = tiny_depth.GOLDEN / "depth_anything_v2"


def checkpoint(folder: Path, kind: str = "relative", layout: str = "hf") -> Path:
    """`folder`, made a checkpoint: `model.safetensors`, or a file named as the original release's."""
    source, name = ("weights", "model") if layout == "hf" else ("weights_pth", "depth_anything_v2_vits")
    return tiny_depth.checkpoint(folder, f"depth_anything_v2/{kind}", source, name)


def recipe(weights: Path, path: Path) -> Path:
    """The recipe of that checkpoint, written to `path`."""
    return tiny_depth.recipe("depth_anything_v2", "depth-tiny", "{size: [42, 70]}", weights, path)
