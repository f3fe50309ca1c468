"""Depth Anything 3 small: golden sets as checkpoint folders, a recipe, and photographs of a scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tiny_depth
from PIL import Image

from gen3dexport.models.image_preparation import sample_image

GOLDEN = tiny_depth.GOLDEN / "depth_anything_3"


def checkpoint(folder: Path, kind: str = "anyview") -> Path:
    """`folder`, made a checkpoint of `anyview` or `mono`."""
    return tiny_depth.checkpoint(folder, f"depth_anything_3/{kind}")


def recipe(weights: Path, path: Path, views: int = 1) -> Path:
    """The recipe of that checkpoint, written to `path`."""
    knobs = f"{{size: [42, 70], views: {views}, grid: 32, cut: 10}}"
    return tiny_depth.recipe("depth_anything_3", "views-tiny", knobs, weights, path)


def picture(seed: int = 1, height: int = 60, width: int = 100) -> np.ndarray:
    """A seeded photograph, uint8 [H, W, 3]."""
    return np.asarray(Image.fromarray(sample_image(seed)[..., :3]).resize((width, height)))
