"""The network of spheres, its loading and its checkpoint."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gen3dexport.errors import UsageError
from gen3dexport.models.component import Component
from gen3dexport.models.declaration import Weights
from tiny_gen3d.sphere import CONFIG


class Field(nn.Module):
    """points [1, N, 3] and a radius [1, 1] -> logits [1, N, 1], positive inside the ball."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ridges, self.sum = nn.Linear(3, width, bias=False), nn.Linear(width, 1, bias=False)

    def forward(self, points: Tensor, radius: Tensor) -> Tensor:
        distance: Tensor = self.sum(torch.relu(self.ridges(points)))
        return radius[:, None] - distance


def load(folder: Path, width: int, resolution: int, weights: Weights) -> Component:
    """The network as a component.

    Raises:
        UsageError: when its weights are missing or do not fit.
    """
    if weights == "shapes":
        with torch.device("meta"):
            inputs = {"points": torch.zeros(1, resolution**3, 3), "radius": torch.zeros(1, 1)}
            return Component("field", Field(width).eval(), inputs, ("logits",))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        field = Field(width).eval()
    if weights == "stored":
        path = folder / "sphere.safetensors"
        try:
            field.load_state_dict(load_file(path))
        except (OSError, RuntimeError) as error:
            raise UsageError(f"{path}: no weights of a sphere {width} wide ({error})") from error
    return Component("field", field, {}, ("logits",))


def write_checkpoint(folder: Path, width: int = 256, resolution: int = 16) -> None:
    """Weights that need no training: directions of a Fibonacci lattice on the sphere (Gonzalez 2010, "Measurement of
    areas on a sphere using Fibonacci and latitude-longitude lattices"), and their sum."""
    index = torch.arange(width, dtype=torch.float64) + 0.5
    height, angle = 1 - 2 * index / width, math.pi * (1 + math.sqrt(5)) * index
    flat = (1 - height.square()).sqrt()
    directions = torch.stack([flat * angle.cos(), flat * angle.sin(), height], 1).float()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps({"width": width, "resolution": resolution}))
    weights = {"ridges.weight": directions.contiguous(), "sum.weight": torch.full((1, width), 4 / width)}
    save_file(weights, folder / "sphere.safetensors")
