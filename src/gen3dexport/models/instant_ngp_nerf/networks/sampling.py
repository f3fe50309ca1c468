"""Places along rays, and what a ray collects from them; for as many samples a ray, whatever it meets.

A bin's edges are in u of [0, 1]: even steps of half the distance below 1, and of its reciprocal beyond.
Source: Tancik et al. 2023, "Nerfstudio"; Barron et al. 2022, "Mip-NeRF 360"; Max 1995, "Optical models for direct
volume rendering".
"""

from __future__ import annotations

import torch
from torch import Tensor

PADDING, LEAST = 0.01, 1e-5
"""What is added to every weight before samples are drawn by them, and the least sum of them."""


def spaced(distance: float) -> float:
    """s of a distance: half of it below 1, then 1 - 1 / (2 distance)."""
    return distance / 2 if distance < 1 else 1 - 1 / (2 * distance)


def distances(edges: Tensor, near: float, far: float) -> Tensor:
    """Distances of edges in u."""
    s = edges * spaced(far) + (1 - edges) * spaced(near)
    return torch.where(s < 0.5, 2 * s, 1 / (2 - 2 * s).clamp(min=1e-12))


def weights_of(density: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """Shares [R, n] of a ray's light that its bins give, and what is absorbed [R, n] in each.

    Args:
        density: [R, n]; edges: distances [R, n + 1].
    """
    absorbed = (edges[:, 1:] - edges[:, :-1]) * density
    before = torch.cat([torch.zeros_like(absorbed[:, :1]), absorbed[:, :-1].cumsum(-1)], -1)
    found = (1 - torch.exp(-absorbed)) * torch.exp(-before)
    return torch.where(found == found, found, torch.zeros_like(found)), absorbed


def resampled(weights: Tensor, edges: Tensor, count: int) -> Tensor:
    """Edges [R, count + 1] in u of new bins, more of them where weights are large.

    Args:
        weights: [R, n] of the bins between edges [R, n + 1] in u, or [1, n + 1] for all rays.
    """
    bins = weights.shape[1]
    padded = weights + PADDING
    total = padded.sum(-1, keepdim=True)
    lacking = (LEAST - total).relu()
    shares = (padded + lacking / bins) / (total + lacking)
    below = torch.cat([torch.zeros_like(shares[:, :1]), shares.cumsum(-1).clamp(max=1)], -1)
    wanted = torch.linspace(0, 1 - 1 / (count + 1), count + 1) + 1 / (2 * (count + 1))
    wanted = wanted.to(weights.device).expand(len(weights), count + 1)
    passed = (below[:, None, :] <= wanted[:, :, None]).to(torch.int32).sum(-1)  # edges that are not beyond
    first, last = (passed - 1).clamp(0, bins).long(), passed.clamp(0, bins).long()
    edges = edges.expand(len(weights), bins + 1)
    low, high = below.gather(1, first), below.gather(1, last)
    width = high - low
    share = torch.where(width > 0, (wanted - low) / width.clamp(min=1e-30), torch.zeros_like(width)).clamp(0, 1)
    start = edges.gather(1, first)
    return start + share * (edges.gather(1, last) - start)


def collected(weights: Tensor, colors: Tensor, edges: Tensor, background: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Colour [R, 3] in [0, 1], median depth [R, 1], accumulation [R, 1] and expected depth [R, 1] of rays.

    Args:
        weights: [R, n]; colors: [R, n, 3]; edges: distances [R, n + 1].
        background: what is behind: `last_sample`, `black` or `white`.
    """
    accumulation = weights.sum(-1, keepdim=True)
    color = (weights[..., None] * colors).sum(1)
    if background == "last_sample":
        color = color + colors[:, -1] * (1 - accumulation)
    elif background == "white":
        color = color + (1 - accumulation)
    middles = (edges[:, 1:] + edges[:, :-1]) / 2
    reached = (weights.cumsum(-1) < 0.5).to(torch.int32).sum(-1, keepdim=True).clamp(max=weights.shape[1] - 1)
    depth = middles.gather(1, reached.long())
    expected = (weights * middles).sum(-1, keepdim=True) / (accumulation + 1e-10)
    expected = torch.minimum(torch.maximum(expected, middles.amin((0, 1))), middles.amax((0, 1)))
    return color.clamp(0, 1), depth, accumulation, expected
