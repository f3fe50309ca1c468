"""The picture of docs/v-jepa2.md: frames of a film, and a feature film made of it by a bundle.

    python benchmarks/vjepa2_picture.py BUNDLE docs/v-jepa2.png

The bundle is one of the tests' tiny checkpoint with larger frames (`tests/families/v_jepa2/v_jepa2_tiny.py`, knobs
`{frames: 16, size: 64}`): its weights are random.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from gen3dexport.assets import kinds
from gen3dexport.models.v_jepa2.host.clip import cut, drifting
from gen3dexport.runtime import load


def main(bundle: Path, out: Path) -> int:
    """Write the picture."""
    loaded = load(bundle)
    settings = loaded.settings
    film = drifting(0, settings.frames)
    made = loaded.generate_assets(video=film)["feature_film"]
    below = kinds.of(made).picture(made)
    count, edge = len(made.features), (below.shape[1] + 4) // len(made.features) - 4
    frames = [np.asarray(Image.fromarray(cut(film[2 * k], 256)).resize((edge, edge))) for k in range(count)]
    gap = np.full((edge, 4, 3), 255, np.uint8)
    above = np.concatenate([part for frame in frames for part in (gap, frame)][1:], 1)
    space = np.full((4, below.shape[1], 3), 255, np.uint8)
    Image.fromarray(np.concatenate([above, space, below])).save(out)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
