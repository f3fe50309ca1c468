"""A model of one's own: a perceptron that learns the signed distance to a ring of any thickness.

python field.py            learns for a few seconds, and writes weights/model.safetensors
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from gen3dexport.models.custom import Part, Pipeline


class Field(nn.Module):
    """points [1, N, 3] in [-0.5, 0.5]^3 and the tube's radius [1, 1] -> signed distance [1, N, 1], negative inside."""

    def __init__(self, width: int = 128, waves: int = 32) -> None:
        super().__init__()
        self.register_buffer("waves", 3 * torch.randn(3, waves))
        self.body = nn.Sequential(
            nn.Linear(2 * waves + 1, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1)
        )

    def forward(self, points: Tensor, radius: Tensor) -> Tensor:
        angles = points @ self.waves
        wide = radius[:, None].expand(-1, points.shape[1], -1)
        return self.body(torch.cat([angles.sin(), angles.cos(), wide], dim=-1))


def make(width: int = 128) -> Pipeline:
    """What the recipe names: the module, example inputs, and what its output means."""
    examples = {"points": torch.rand(1, 4096, 3) - 0.5, "radius": torch.full((1, 1), 0.1)}
    surface = {"kind": "mesh", "points": "points", "values": "distance", "resolution": 48}
    return Pipeline(Part(Field(width), outputs=["distance"]), examples, surface)


def exact(points: Tensor, radius: Tensor) -> Tensor:
    """The distance that it learns: to a torus around z, whose tube has that radius."""
    across = points[..., :2].norm(dim=-1, keepdim=True) - 0.3
    return torch.hypot(across, points[..., 2:]) - radius[:, None]


def learn(folder: Path, steps: int = 600) -> float:
    """Weights into `folder`; the mean error at the end."""
    torch.manual_seed(0)
    field = Field()
    optimizer = torch.optim.Adam(field.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        points, radius = torch.rand(4, 512, 3) - 0.5, 0.04 + 0.1 * torch.rand(4, 1)
        loss = (field(points, radius) - exact(points, radius)).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    folder.mkdir(exist_ok=True)
    save_file(field.state_dict(), folder / "model.safetensors")
    return float(loss.detach())


if __name__ == "__main__":
    print(f"mean error {learn(Path(__file__).parent / 'weights'):.4f}")
