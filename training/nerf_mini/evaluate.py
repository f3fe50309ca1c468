"""PSNR of nerf-mini on held-out pictures, beside trivial answers.

    python -m training.nerf_mini.evaluate

Writes weights/nerf-mini/scores.json and sheet.png.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from gen3dexport.models.instant_ngp_nerf.host.model import read_model
from gen3dexport.models.instant_ngp_nerf.networks.loading import read_released
from gen3dexport.models.instant_ngp_nerf.networks.renderer import Renderer
from gen3dexport.networks.checkpoints import read_weights
from training.nerf_mini.train import RELEASE, seen
from training.nerf_mini.views import EDGE, held_out, pictures, trained

_RAYS, _SHOWN = 4096, 4


def psnr(made: NDArray[np.floating], wanted: NDArray[np.floating]) -> float:
    """Of colours in [0, 1], in dB."""
    return float(-10 * np.log10(np.mean((made.astype(np.float64) - wanted) ** 2)))


def rendered(origins: NDArray[np.float32], directions: NDArray[np.float32]) -> NDArray[np.float32]:
    """The field's colours of rays [N, 3]."""
    path = RELEASE / "model.safetensors"
    renderer = Renderer(read_released(read_model(RELEASE), read_weights(path), str(path))).eval()
    parts = []
    with torch.no_grad():
        for start in range(0, len(origins), _RAYS):
            given = (torch.from_numpy(rays[start : start + _RAYS]) for rays in (origins, directions))
            parts.append(renderer(*given)[0].numpy())
    return np.concatenate(parts)


def nearest(poses: NDArray[np.float64]) -> list[int]:
    """Of each camera the trained one that looks most like it."""
    return [int(np.argmax(trained()[:, :3, 2] @ pose[:3, 2])) for pose in poses]


def scores() -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """PSNR by answer, means of the pictures' own; and a sheet of held-out pictures above what the field makes."""
    poses = held_out()
    origins, directions, wanted = pictures(poses)
    own = rendered(origins.reshape(-1, 3), directions.reshape(-1, 3)).reshape(wanted.shape)
    colors = seen()[2]
    mean = colors.mean((0, 1))
    made = {
        "nerf-mini": own,
        "nearest trained picture": colors[nearest(poses)],
        "mean colour": np.broadcast_to(mean, wanted.shape),
        "white": np.ones_like(wanted),
    }
    found = {
        name: round(float(np.mean([psnr(a, b) for a, b in zip(values, wanted, strict=True)])), 2)
        for name, values in made.items()
    }
    rows = [np.concatenate(list(part[:_SHOWN].reshape(_SHOWN, EDGE, EDGE, 3)), 1) for part in (wanted, own)]
    sheet = np.rint(255 * np.concatenate(rows)).astype(np.uint8)
    return {"pictures": len(poses), "edge": EDGE, "psnr_db": found}, sheet


def main() -> None:
    """Measure and write."""
    found, sheet = scores()
    (RELEASE / "scores.json").write_text(json.dumps(found, indent=1) + "\n")
    Image.fromarray(sheet).save(Path(__file__).parent / "sheet.png")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
