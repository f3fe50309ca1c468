"""Blocks that compute in half precision, as the released checkpoints that have it do, among norms that stay float32."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn


class StaysFloat32:
    """Mark of a part whose parameters stay float32 where those around it are cast."""


class FloatNorm(StaysFloat32, nn.LayerNorm):
    """Layer norm over the last axis in float32, cast back to the incoming dtype."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).to(x.dtype)


class HalfBlocks(nn.Module):
    """A network whose blocks can compute in half precision; everything around them stays float32.

    Attributes:
        halved: name of its blocks, or of the part that has them and is such a network.
        block_dtype: what the blocks compute in.
    """

    halved: ClassVar[str] = "blocks"
    block_dtype: torch.dtype = torch.float32

    def set_block_dtype(self, dtype: torch.dtype) -> None:
        """Run the blocks in `dtype`; their norms and everything around them stay float32."""
        self.block_dtype = dtype
        part = self.get_submodule(self.halved)
        if isinstance(part, HalfBlocks):
            part.set_block_dtype(dtype)
        else:
            set_dtype(part, dtype)


def set_dtype(blocks: nn.Module, dtype: torch.dtype) -> None:
    """Cast the parameters of `blocks` but for those of parts that stay float32."""
    blocks.to(dtype)
    for part in blocks.modules():
        if isinstance(part, StaysFloat32):
            part.float()


def norms_in_float32(module: nn.Module) -> None:
    """Put a `FloatNorm` with the same weights in the place of every layer norm inside `module`."""
    norms = [(name, part) for name, part in module.named_modules() if type(part) is nn.LayerNorm]
    for name, norm in norms:
        with torch.device("meta"):
            own = FloatNorm(norm.normalized_shape, norm.eps)
        own.weight, own.bias = norm.weight, norm.bias
        module.set_submodule(name, own)
