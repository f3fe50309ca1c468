"""Attention of points over the latents that a group of them has most to do with, as FlashVDM decodes.

It is an approximation, and no program of this family has it: golden sets of it are held against these equations.
Source: Lai et al. 2025, "Unleashing Vecset Diffusion Model for Fast Shape Generation".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def kept(latents: int) -> int:
    """How many latents a group attends to, of so many."""
    return {3072: 1024, 512: 256}.get(latents, latents // 3)


def attend_to_kept(queries: Tensor, keys: Tensor, values: Tensor, stride: int, count: int) -> Tensor:
    """Attention [B, H, P, d] of one group's queries over the `count` latents of each head that are most like them.

    Args:
        queries: [B, H, P, d]; keys, values: [B, H, L, d].
        stride: every so-manyth query says what the group is like: the mean of its products with the keys.
    """
    alike = (queries[:, :, ::stride] @ keys.transpose(-1, -2)).mean(2)
    index = alike.topk(count, -1).indices[..., None].expand(-1, -1, -1, keys.shape[-1])
    return F.scaled_dot_product_attention(queries, keys.gather(2, index), values.gather(2, index))


class SelectedAttention(nn.Module):
    """Queries as one group, and those of the first item in several: [B, H, P, d], [1, H, P, d]."""

    def __init__(self, count: int, first_stride: int, cell_stride: int, cells: Sequence[int]) -> None:
        """`cells`: how many queries each group of the first item has, in their order."""
        super().__init__()
        self.count, self.first_stride, self.cell_stride, self.cells = count, first_stride, cell_stride, list(cells)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        whole = attend_to_kept(q, k, v, self.first_stride, self.count)
        groups = q[:1].split(self.cells, 2)  # type: ignore[no-untyped-call]
        return whole, torch.cat([attend_to_kept(g, k[:1], v[:1], self.cell_stride, self.count) for g in groups], 2)
