"""nerf-mini's held-out pictures, traced and as bundles make them: `python benchmarks/nerf_picture.py BUNDLE...`.

Columns are cameras; rows are the traced pictures, those of each bundle, and the last bundle's depths. Writes
`docs/nerf.png` and prints every bundle's PSNR and seconds a picture.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from gen3dexport.assets.flat_pictures import false_colours
from gen3dexport.runtime import load
from training.nerf_mini.views import FIELD, held_out, pictures

VIEWS, EDGE = 5, 160
PLACE = Path(__file__).parents[1] / "docs" / "nerf.png"


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, nargs="+")
    given = parser.parse_args()
    poses = held_out()[:VIEWS]
    wanted = pictures(poses, EDGE)[2].reshape(VIEWS, EDGE, EDGE, 3)
    rows = [[np.rint(255 * picture).astype(np.uint8) for picture in wanted]]
    views = []
    for bundle in given.bundles:
        loaded = load(bundle)
        loaded.change({"resolution": str(EDGE)})
        loaded.load_programs()
        start = time.perf_counter()
        made = loaded.generate_assets(inputs={"poses": poses, "fov": np.full(VIEWS, FIELD)})
        seconds = (time.perf_counter() - start) / VIEWS
        views = made["sequence"].items
        rows.append([view.colors for view in views])
        errors = [np.mean((view.colors / 255 - picture) ** 2) for view, picture in zip(views, wanted, strict=True)]
        print(f"{bundle.name}: {np.mean(-10 * np.log10(errors)):.2f} dB, {seconds:.2f} s a picture")
    far = [np.where(view.accumulation > 0.5, view.depth, np.nan) for view in views]
    rows.append([false_colours(-depth) for depth in far])
    Image.fromarray(np.concatenate([np.concatenate(row, 1) for row in rows])).save(PLACE, optimize=True)


if __name__ == "__main__":
    main()
