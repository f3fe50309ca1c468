"""The two small networks of cameras: from tokens to a pose, and from a pose to tokens.

Source: Lin et al. 2025, "Depth Anything 3". A pose is [t (3), quaternion (4), fov_h, fov_w].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.models.depth_anything_3.host.model import CameraEncoder as Encoding
from gen3dexport.models.depth_anything_3.networks.backbone import EPS
from gen3dexport.networks.dinov2 import Block
from gen3dexport.networks.half_precision import FloatNorm

_POSE = 9
_BLOCKS = 4


class CameraDecoder(nn.Module):
    """Poses [B, S, 9] of the views' camera features [B, S, C]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.fc_t, self.fc_qvec = nn.Linear(width, 3), nn.Linear(width, 4)
        self.fc_fov = nn.Sequential(nn.Linear(width, 2), nn.ReLU())

    def forward(self, feature: Tensor) -> Tensor:
        x = self.backbone(feature)
        return torch.cat([self.fc_t(x), self.fc_qvec(x), self.fc_fov(x)], -1)


class CameraEncoder(nn.Module):
    """Tokens [B, S, C] of the views' poses [B, S, 9]."""

    def __init__(self, config: Encoding) -> None:
        super().__init__()
        width = config.dim_out
        self.pose_branch = nn.ModuleDict({"fc1": nn.Linear(_POSE, width // 2), "fc2": nn.Linear(width // 2, width)})
        self.token_norm, self.trunk_norm = FloatNorm(width, eps=EPS), FloatNorm(width, eps=EPS)
        self.trunk = nn.Sequential(*(_block(width, config.num_heads) for _ in range(_BLOCKS)))

    def forward(self, pose: Tensor) -> Tensor:
        x = self.pose_branch["fc2"](F.gelu(self.pose_branch["fc1"](pose)))
        return self.trunk_norm(self.trunk(self.token_norm(x)))  # type: ignore[no-any-return]


def _block(width: int, heads: int) -> Block:
    made = Block(width, heads)
    made.norm1.eps = made.norm2.eps = EPS
    return made
