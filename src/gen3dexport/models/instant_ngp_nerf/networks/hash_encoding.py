"""A multi-resolution hash grid: features of places in the unit cube.

Source: Mueller et al. 2022, "Instant Neural Graphics Primitives"; rules of nerfstudio's torch implementation: every
level is hashed, also those that would fit the table densely.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

_FACTORS = (1, 2654435761, 805459861)  # of x, y and z
_BITS = 31  # of an integer that is not negative
_SCALE = 1e-3  # of random features
_CORNERS = [(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)]


class HashEncoding(nn.Module):
    """Features [..., L F], level after level, at places [..., 3] in [0, 1].

    Integers are 32 bits wide and never overflow, so that every target computes the same index: only the low bits of a
    product matter, for a table has 2^t rows a level.
    """

    def __init__(self, levels: int, coarsest: int, finest: int, log2_size: int, features: int) -> None:
        """`coarsest`, `finest`: cells along an edge of the first and the last level; 2^log2_size rows a level."""
        super().__init__()
        self.hash_table = nn.Parameter((2 * torch.rand(levels << log2_size, features) - 1) * _SCALE)
        self.bits, self.finest = log2_size, finest
        growth = math.exp((math.log(finest) - math.log(coarsest)) / (levels - 1)) if levels > 1 else 1.0
        # In float32, as the rules have it: rounding decides whether the last level has `finest` cells or one fewer.
        scalings = torch.floor(coarsest * torch.pow(growth, torch.arange(levels)))
        self.register_buffer("scalings", scalings.float(), persistent=False)
        self.register_buffer("first_rows", torch.arange(levels, dtype=torch.int32) << log2_size, persistent=False)

    @property
    def width(self) -> int:
        """Features of a place."""
        return len(self.get_buffer("scalings")) * self.hash_table.shape[1]

    def forward(self, places: Tensor) -> Tensor:
        """Trilinear blends of the eight corners' rows."""
        found: Tensor | None = None
        for index, weight in self._corners(places):
            part = weight[..., None] * nn.functional.embedding(index, self.hash_table)
            found = part if found is None else found + part
        assert found is not None
        return found.permute(1, 0, 2).reshape(*places.shape[:-1], -1)

    def corners(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Rows [..., L, 8] of the corners around places, and their weights [..., L, 8]."""
        every = [*self._corners(places)]
        rows, weights = (torch.stack(one, -1).transpose(0, 1) for one in zip(*every, strict=True))
        return rows.reshape(*places.shape[:-1], -1, 8), weights.reshape(*places.shape[:-1], -1, 8)

    def _corners(self, places: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows [L, N] and weights [L, N] of each corner around N places: long rows of one level are what a TPU's
        registers and a CPU's loops are made for."""
        scaled, low = self._scaled(places)
        share = scaled - low
        parts = [self._parts(scaled, low, axis) for axis in range(3)]
        weights = [(1 - share[:, axis], share[:, axis]) for axis in range(3)]
        for i, j, k in _CORNERS:
            yield (
                self._of_levels(parts[0][i] ^ parts[1][j] ^ parts[2][k]),
                weights[0][i] * weights[1][j] * weights[2][k],
            )

    def floor_rows(self, places: Tensor) -> Tensor:
        """Rows [..., L] of the lower corners."""
        scaled, low = self._scaled(places)
        x, y, z = (self._parts(scaled, low, axis)[0] for axis in range(3))
        return self._of_levels(x ^ y ^ z).T.reshape(*places.shape[:-1], -1)

    def _scaled(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Places in cells of each level [L, 3, N], and the corners below them."""
        scaled = places.reshape(-1, 3).T * self.get_buffer("scalings")[:, None, None]
        return scaled, scaled.floor()

    def _of_levels(self, rows: Tensor) -> Tensor:
        """Rows [L, N] of the whole table, of those of each level's own."""
        return rows + self.get_buffer("first_rows")[:, None]

    def _parts(self, scaled: Tensor, low: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """What an axis adds to the index of the corner below and of the one above; the same where a place is on it."""
        below, above = low[:, axis].to(torch.int32), scaled[:, axis].ceil().to(torch.int32)
        return self._hashed(below, axis), self._hashed(above, axis)

    def _hashed(self, cells: Tensor, axis: int) -> Tensor:
        """Cells' numbers times the axis' factor, modulo 2^bits."""
        mask = (1 << self.bits) - 1
        factor = _FACTORS[axis] & mask
        if self.finest * factor < 1 << _BITS:
            return (cells * factor) & mask
        # The factor in two parts, so that no product is too long.
        half = self.bits // 2
        high = (cells * (factor >> half)) & ((1 << (self.bits - half)) - 1)
        return ((high << half) + cells * (factor & ((1 << half) - 1))) & mask
