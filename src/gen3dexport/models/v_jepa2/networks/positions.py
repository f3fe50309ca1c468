"""Turning a head's channels by the frame, row and column of a patch, as constants.

Of a head's channels the first D are turned by the frame, the next D by the row and the next D by the column, where D is
the largest even number with 3 D channels or fewer; what is left stays. Channels 2 i and 2 i + 1 are a pair. Channel j
of an axis turns by place / 10000^((j mod D/2) / (D/2)): the two of a pair by different angles, as the release does.
Source: Su et al. 2021, "RoFormer"; Assran et al. 2025, "V-JEPA 2".
"""

from __future__ import annotations

import torch
from torch import Tensor

_BASE = 10000.0
_AXES = 3


def turned(width: int) -> int:
    """How many of a head's channels are turned."""
    return _AXES * 2 * (width // _AXES // 2)


def pairs_apart(width: int) -> Tensor:
    """Order [width] of a head's channels in which a pair is channel i and i + half of those that are turned.

    A product of queries and keys is the same in any order that both have.
    """
    every, count = torch.arange(width), turned(width)
    return torch.cat([every[:count:2], every[1:count:2], every[count:]])


def places(ids: Tensor, grid: int) -> Tensor:
    """Frame, row and column [..., 3] of patches that are counted frame by frame, row by row."""
    inside = ids % grid**2
    return torch.stack([ids // grid**2, inside // grid, inside % grid], -1)


def tables(ids: Tensor, grid: int, width: int) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines [..., N, width] of patches [..., N], a head's channels in the order of `pairs_apart`.

    With them the turned channels are x * cosines + swapped(x) * sines.
    """
    half = turned(width) // 2
    each = half // _AXES  # half of an axis' channels
    frequencies = _BASE ** (-torch.arange(max(each, 1), dtype=torch.float64) / max(each, 1))
    angles = (places(ids, grid).double()[..., None] * frequencies.repeat(2)[: 2 * each]).flatten(-2)
    apart = torch.cat([angles[..., 0::2], angles[..., 1::2]], -1)
    signs = torch.ones(2 * half, dtype=torch.float64)
    signs[:half] = -1
    rest = torch.zeros(*ids.shape, width - 2 * half, dtype=torch.float64)
    return torch.cat([apart.cos(), rest + 1], -1).float(), torch.cat([apart.sin() * signs, rest], -1).float()


def turn(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Queries or keys [B, H, N, width] turned by tables [B or 1, 1, N, width], in float32, cast back."""
    half = turned(x.shape[-1]) // 2
    if not half:
        return x
    swapped = torch.cat([x[..., half : 2 * half], x[..., :half], x[..., 2 * half :]], -1)
    return (x.float() * cosines + swapped.float() * sines).to(x.dtype)
