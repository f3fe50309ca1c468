"""What the head is trained on: inverse depth, up to a factor and an addend. Source: Ranftl et al. 2020, "MiDaS"."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_SCALES = 4
_SMOOTH, _DIRECT = 0.5, 0.1


def normalised(values: Tensor) -> Tensor:
    """Maps [B, H, W] with median 0 and mean magnitude 1."""
    flat = values.flatten(1)
    flat = flat - flat.median(1, keepdim=True).values
    return (flat / flat.abs().mean(1, keepdim=True).clamp_min(1e-4)).view_as(values)


def relative(nearness: Tensor) -> Tensor:
    """1 / metres [B, H, W] as the network gives it: 0 in the sky, about 1 at the nearest."""
    nearest = torch.quantile(nearness.flatten(1), 0.98, dim=1).clamp_min(1e-3)
    return (nearness / nearest[:, None, None]).clamp(max=1.5)


def loss_of(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean distance of normalised maps and of their slopes at four scales, and a little of what `relative` says."""
    off = normalised(found) - normalised(wanted)
    result = off.abs().mean() + _DIRECT * (found - wanted).abs().mean()
    for step in range(_SCALES):
        part = off[:, :: 2**step, :: 2**step]
        slopes = (part[:, 1:] - part[:, :-1]).abs().mean() + (part[:, :, 1:] - part[:, :, :-1]).abs().mean()
        result = result + _SMOOTH / _SCALES * slopes
    return result


def resized(maps: Tensor, edge: int) -> Tensor:
    """Maps [B, H, W] at another size, by the means of areas."""
    return F.interpolate(maps[:, None], size=(edge, edge), mode="area")[:, 0]
