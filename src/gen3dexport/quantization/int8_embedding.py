"""Embedding tables in int8: a scale per row. Reading a row costs no product, so this is size alone, at no time."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.quantization.int8_linear import int8_weight


class Int8Embedding(nn.Module):
    """An embedding [V, C] with its rows in int8, widened when they are read: the largest magnitude of a row is 127."""

    numbers: Tensor
    scale: Tensor

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        numbers, scale = int8_weight(embedding.weight)
        self.register_buffer("numbers", numbers)
        self.register_buffer("scale", scale[:, None])

    @property
    def weight(self) -> Tensor:
        """The whole table [V, C], widened."""
        return self.numbers.float() * self.scale

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.numbers).float() * F.embedding(ids, self.scale)
