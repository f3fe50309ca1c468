"""nerf-mini's held-out pictures: `python benchmarks/nerf_picture.py` writes docs/nerf.png.

Columns are cameras; rows are the traced pictures, those of whole rays, those of marching with an occupancy grid, and
the depths of these; in eager mode.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from nerf import drawn
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from gen3dexport.assets.flat_pictures import false_colours
from training.nerf_mini.views import EDGE, held_out, pictures

VIEWS = 5
PLACE = Path(__file__).parents[1] / "docs" / "nerf.png"


def main() -> None:
    """Draw."""
    torch.set_num_threads(1)
    poses = held_out()[:VIEWS]
    wanted = pictures(poses)[2].reshape(VIEWS, EDGE, EDGE, 3)
    whole, marched = drawn("rays", 24, EDGE, poses)[0], drawn("march, occupancy", 128, EDGE, poses)[0]
    far = np.where(marched["accumulations"] > 0.5, marched["depths"], np.nan)
    rows = [np.rint(255 * wanted).astype(np.uint8), whole["pictures"], marched["pictures"]]
    rows.append(np.stack([false_colours(-depth) for depth in far]))
    Image.fromarray(np.concatenate([np.concatenate(list(row), 1) for row in rows])).save(PLACE, optimize=True)


if __name__ == "__main__":
    main()
