"""Pictures of the field by volume rendering: cameras, rays, samples, and what is seen. Source: Mildenhall 2020, "NeRF".

The release trains and previews with them; a mesh needs none. Golden sets have them, so parity computes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Field = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Points [N, 3] -> density [N, 1] and colour [N, 3] in [0, 1]."""

_MARGIN = 1e-3  # of the box that rays are cut with
_LEAST = 1e-6  # of a direction's components
_SHORTEST = 0.01  # way through the box of a ray that counts


@dataclass(frozen=True)
class Rays:
    """Rays with origins and directions [..., 3], and how far along them the box begins and ends [..., 1].

    Attributes:
        valid: [...] whether the ray meets the box; both distances are 0 where it does not.
    """

    origins: Tensor
    directions: Tensor
    near: Tensor
    far: Tensor
    valid: Tensor


def orbit(views: int, elevation: float, distance: float, fov: float, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Origins and directions [V, H, W, 3] of the rays of cameras around the z axis that look at the origin.

    Args:
        elevation, fov: in degrees; fov is the vertical one.
    """
    azimuth = torch.deg2rad(torch.arange(views, dtype=torch.float32) * 360 / views)
    height_angle = torch.deg2rad(torch.full_like(azimuth, elevation))
    flat = height_angle.cos()
    position = distance * torch.stack([flat * azimuth.cos(), flat * azimuth.sin(), height_angle.sin()], -1)
    forward = _unit(-position)
    right = _unit(torch.linalg.cross(forward, torch.tensor([0.0, 0.0, 1.0]).expand_as(forward), dim=-1))
    up = _unit(torch.linalg.cross(right, forward, dim=-1))
    rotation = torch.stack([right, up, -forward], -1)
    focal = 0.5 * height / torch.tan(0.5 * torch.deg2rad(torch.tensor(fov)))
    row, column = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    seen = _unit(torch.stack([column - width / 2, height / 2 - row, -torch.ones_like(row)], -1))
    seen = torch.cat([seen[..., :2] / focal, seen[..., 2:]], -1)
    directions = _unit((seen[None, ..., None, :] * rotation[:, None, None]).sum(-1))
    return position[:, None, None].expand_as(directions), directions


def in_box(origins: Tensor, directions: Tensor, radius: float) -> Rays:
    """The rays, cut with the box of half the edge `radius`."""
    half = (1 - _MARGIN) * radius
    moves = torch.where(directions.abs() < _LEAST, torch.full_like(directions, _LEAST), directions)
    ends = torch.stack([(half - origins) / moves, (-half - origins) / moves])
    near = ends.amin(0).amax(-1, keepdim=True).clamp(min=0)
    far = ends.amax(0).amin(-1, keepdim=True)
    valid = far - near > _SHORTEST
    return Rays(origins, directions, torch.where(valid, near, 0), torch.where(valid, far, 0), valid[..., 0])


def rendered(field: Field, rays: Rays, samples: int) -> Tensor:
    """Colour [..., 3] that is seen along the rays, on white."""
    ends = torch.linspace(0, 1, samples + 1)
    middle, step = (ends[:-1] + ends[1:]) / 2, ends[1:] - ends[:-1]
    depth = rays.near * (1 - middle) + rays.far * middle  # [..., K]
    points = rays.origins[..., None, :] + depth[..., None] * rays.directions[..., None, :]
    density, color = field(points.reshape(-1, 3))
    alpha = 1 - torch.exp(-step * density.reshape(depth.shape))
    left = torch.cumprod(1 - alpha + 1e-10, -1)
    weight = alpha * torch.cat([torch.ones_like(left[..., :1]), left[..., :-1]], -1)
    weight = torch.where(rays.valid[..., None], weight, 0)
    seen = (weight[..., None] * color.reshape(*depth.shape, 3)).sum(-2)
    opacity: Tensor = weight.sum(-1, keepdim=True)
    return seen + 1 - opacity


def _unit(vectors: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / length
