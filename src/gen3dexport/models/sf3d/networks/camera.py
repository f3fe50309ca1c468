"""The camera that a picture is said to be taken by, and its embedding.

Source: Boss et al. 2024, "Stable Fast 3D", section 2.2 of the specification in use here.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class CameraEmbedder(nn.Module):
    """Poses [..., 4, 4] and normalised intrinsics [..., 3, 3] -> embeddings [..., D]."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels)

    def forward(self, pose: Tensor, intrinsics: Tensor) -> Tensor:
        return self.linear(torch.cat([pose.flatten(-2), intrinsics.flatten(-2)], -1))  # type: ignore[no-any-return]


def default_pose(distance: float) -> Tensor:
    """From camera to world [4, 4]: on +x at that distance, looking at the origin, +y to the right, z up."""
    rows = [[0.0, 0.0, 1.0, distance], [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    return torch.tensor(rows)


def intrinsics(fovy_deg: float, height: int, width: int) -> Tensor:
    """Focal length and centre in pixels [3, 3], of a vertical field of view in degrees."""
    focal = 0.5 * height / math.tan(0.5 * math.radians(fovy_deg))
    return torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])


def normalised(matrix: Tensor, height: int, width: int) -> Tensor:
    """Intrinsics [3, 3] in parts of the picture's width (first row) and height (second row)."""
    scale = torch.tensor([[width], [height], [1.0]])
    return matrix / scale


def default_embedding(embedder: CameraEmbedder, distance: float, fovy_deg: float, size: int) -> Tensor:
    """The embedding [D] of the default camera for square pictures."""
    return embedder(default_pose(distance), normalised(intrinsics(fovy_deg, size, size), size, size))  # type: ignore[no-any-return]
