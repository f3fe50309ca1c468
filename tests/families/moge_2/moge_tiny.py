"""MoGe-2 small: a golden set as a checkpoint folder, and a recipe."""

from __future__ import annotations

from pathlib import Path

import tiny_depth

GOLDEN = tiny_depth.GOLDEN / "moge_2"


def checkpoint(folder: Path) -> Path:
    """`folder`, made a checkpoint."""
    return tiny_depth.checkpoint(folder, "moge_2/model")


def recipe(weights: Path, path: Path) -> Path:
    """The recipe of that checkpoint, written to `path`."""
    return tiny_depth.recipe("moge_2", "moge-tiny", "{size: [42, 56], grid: 32, cut: 10}", weights, path)
