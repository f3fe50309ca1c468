"""DINOv2's vision transformer without registers (Oquab et al. 2023), with maps taken from several of its blocks.

`Dinov2` holds the released tensors by their names. `Dinov2Taps` is what is built: for one picture size, with the
position table resampled once and LayerScale inside the layers before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.networks.half_precision import FloatNorm, HalfBlocks

TableRule = Literal["factor", "size"]
"""How a position table is resampled: by the factors (patches + 0.1) / stored, as the original code does; or to the
exact size, as the transformers library does from version 5."""

_EPS = 1e-6
_NUDGE = 0.1  # what the original code adds to the number of patches, so that rounding down gives that number


class Attention(nn.Module):
    """Self-attention of tokens [B, T, C]; query, key and value are one layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class LayerScale(nn.Module):
    """A learned factor for each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class GatedMlp(nn.Module):
    """One half of a layer's results gates the other (SwiGLU, Shazeer 2020), and back; of the giant model."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = (width * 8 // 3 + 7) // 8 * 8
        self.weights_in, self.weights_out = nn.Linear(width, 2 * inner), nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.weights_in(x).chunk(2, dim=-1)
        return self.weights_out(F.silu(gate) * value)  # type: ignore[no-any-return]


class Mlp(nn.ModuleDict):
    """A layer of four times the width with GELU, and back."""

    def __init__(self, width: int) -> None:
        super().__init__({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor) -> Tensor:
        return self["fc2"](F.gelu(self["fc1"](x)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and MLP, each after a norm, scaled and added to its input."""

    def __init__(self, width: int, heads: int, gated: bool = False) -> None:
        super().__init__()
        self.norm1, self.norm2 = FloatNorm(width, eps=_EPS), FloatNorm(width, eps=_EPS)
        self.attn = Attention(width, heads)
        self.ls1: nn.Module = LayerScale(width)
        self.mlp: nn.Module = GatedMlp(width) if gated else Mlp(width)
        self.ls2: nn.Module = LayerScale(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))  # type: ignore[no-any-return]

    def fold_scales(self) -> None:
        """Put both factors into the layers whose results they scale, once."""
        last = self.mlp.get_submodule("weights_out" if isinstance(self.mlp, GatedMlp) else "fc2")
        for name, layer in (("ls1", self.attn.proj), ("ls2", last)):
            scale = getattr(self, name)
            if isinstance(scale, LayerScale):
                assert isinstance(layer, nn.Linear)
                gamma = scale.gamma.detach()
                layer.weight = nn.Parameter(layer.weight.detach() * gamma[:, None], requires_grad=False)
                layer.bias = nn.Parameter(layer.bias.detach() * gamma, requires_grad=False)
                setattr(self, name, nn.Identity())


class Dinov2(nn.Module):
    """The released tensors by their names; it has no forward of its own."""

    def __init__(self, width: int, depth: int, heads: int, edge: int, patch: int = 14, gated: bool = False) -> None:
        """`edge` is that of the grid that the position table is for, `patch` that of a patch in pixels; `gated`: with
        SwiGLU."""
        super().__init__()
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.mask_token = nn.Parameter(torch.zeros(1, width))  # of training; nothing here reads it
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + edge * edge, width) * 0.02)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, patch)})
        self.blocks = nn.ModuleList(Block(width, heads, gated) for _ in range(depth))
        self.norm = FloatNorm(width, eps=_EPS)


class Dinov2Taps(HalfBlocks):
    """Tokens [B, 1 + h * w, C] of some blocks, each after the final norm, of pictures [B, 3, H, W] in ImageNet's
    normalisation: class token, then the patches row by row."""

    def __init__(self, released: Dinov2, taps: Sequence[int], grid: tuple[int, int], rule: TableRule) -> None:
        """Takes the parts of `released`; `taps` are the blocks (from 0), `grid` the patches down and across."""
        super().__init__()
        self.taps = tuple(taps)
        projection = released.patch_embed["proj"]
        assert isinstance(projection, nn.Conv2d)
        self.projection = projection
        table = resampled(released.pos_embed.detach(), grid, rule)
        self.first = nn.Parameter(released.cls_token.detach() + table[:, :1], requires_grad=False)
        self.positions = nn.Parameter(table[:, 1:].clone(), requires_grad=False)
        self.blocks = released.blocks[: max(taps) + 1]
        for block in self.blocks:
            assert isinstance(block, Block)
            block.fold_scales()
        self.norm = released.norm

    def before(self, image: Tensor) -> Tensor:
        """What the first block takes, in the blocks' dtype."""
        tokens = self.projection(image).flatten(2).mT + self.positions
        return torch.cat([self.first.expand(len(image), -1, -1), tokens], 1).to(self.block_dtype)

    def forward(self, image: Tensor) -> list[Tensor]:
        x, found = self.before(image), []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.taps:
                found.append(self.norm(x.float()))
        return found


class Dinov2Tokens(HalfBlocks):
    """Tokens [B, 1 + h * w, C] of the last block of `Dinov2Taps`, after the final norm."""

    stack = "encoder.blocks"
    halved = "encoder"

    def __init__(self, released: Dinov2, grid: tuple[int, int], rule: TableRule) -> None:
        """As `Dinov2Taps`."""
        super().__init__()
        self.encoder = Dinov2Taps(released, [len(released.blocks) - 1], grid, rule)

    def before(self, image: Tensor) -> tuple[Tensor]:
        """What the first block takes, in the blocks' dtype."""
        return (self.encoder.before(image),)

    def after(self, x: Tensor) -> Tensor:
        """Tokens of the last rows."""
        return self.encoder.norm(x.float())  # type: ignore[no-any-return]

    def forward(self, image: Tensor) -> Tensor:
        return self.encoder(image)[0]  # type: ignore[no-any-return]


def resampled(table: Tensor, grid: tuple[int, int], rule: TableRule) -> Tensor:
    """A position table [1, 1 + M^2, C] for a grid of h x w patches: the class token's row, then a bicubic grid.

    Bicubic is A = -0.75 without antialiasing; a table for a square grid of that size is used as it is.
    """
    height, width = grid
    edge = math.isqrt(table.shape[1] - 1)
    if height == width == edge:
        return table
    stored = table[:, 1:].mT.unflatten(2, (edge, edge))  # type: ignore[no-untyped-call]
    if rule == "size":
        made = F.interpolate(stored, size=grid, mode="bicubic", align_corners=False)
    else:  # torch steps by the factors as given, not by the ratio of the sizes
        factors = ((height + _NUDGE) / edge, (width + _NUDGE) / edge)
        made = F.interpolate(stored, scale_factor=factors, mode="bicubic", align_corners=False)
    return torch.cat([table[:, :1], made.flatten(2).mT], 1)
