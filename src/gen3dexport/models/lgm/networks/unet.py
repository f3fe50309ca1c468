"""The U-Net: pictures of several views to maps, with attention across views and across frames. Released names.

Source: Tang et al. 2024, "LGM: Large Multi-View Gaussian Model for High-Resolution 3D Content Creation", and Ren et al.
2024, "L4GM: Large 4D Gaussian Reconstruction Model".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.models.lgm.host.model import CHANNELS, FIELDS, GROUPS, HEADS, Model
from gen3dexport.networks.half_precision import StaysFloat32

_EPS = 1e-5
_HALF = math.sqrt(0.5)  # times the sum of a block's result and its input
_DOWN, _UP = 2, 3  # layers of a block

Kept = Callable[[str, Tensor], None]
"""What takes the steps by name."""


class GroupNorm(StaysFloat32, nn.Module):
    """Group norm (Wu and He 2018) of [B, C, H, W] in float32, cast back; as a norm of rows, which every backend has."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        rows = x.float().reshape(x.shape[0], GROUPS, -1)
        normal = F.layer_norm(rows, rows.shape[-1:], eps=_EPS).reshape(x.shape)
        return (normal * self.weight[:, None, None] + self.bias[:, None, None]).to(x.dtype)


class Residual(nn.Module):
    """Two convolutions beside the input."""

    def __init__(self, taken: int, given: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = GroupNorm(taken), nn.Conv2d(taken, given, 3, padding=1)
        self.norm2, self.conv2 = GroupNorm(given), nn.Conv2d(given, given, 3, padding=1)
        if taken != given:
            self.shortcut = nn.Conv2d(taken, given, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        beside = self.shortcut(x) if hasattr(self, "shortcut") else x
        return (h + beside) * _HALF  # type: ignore[no-any-return]


class Projections(nn.Module):
    """The linear layers of an attention, with its softmax between them: tokens [B, N, C] to tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, count, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, count, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, count, width)
        return self.proj(attended)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Cells of several maps attend to each other, beside the input [B * M, C, H, W].

    A call's maps are those of the views of one frame (row by row, view after view) or, `over` frames, those of one view
    in all frames.
    """

    def __init__(self, width: int, views: int, frames: int, over: bool) -> None:
        super().__init__()
        self.norm, self.attn = GroupNorm(width), Projections(width)
        self.views, self.frames, self.over = views, frames, over

    def forward(self, x: Tensor) -> Tensor:
        maps, width, height, across = x.shape
        cells = self.norm(x).flatten(2).mT  # [B T V, H W, C]
        if self.over:
            apart = cells.reshape(-1, self.frames, self.views, height * across, width).transpose(1, 2)
            found = self.attn(apart.reshape(-1, self.frames * height * across, width))
            found = found.reshape(-1, self.views, self.frames, height * across, width).transpose(1, 2)
        else:
            found = self.attn(cells.reshape(-1, self.views * height * across, width))
        made: Tensor = (x + found.reshape(maps, height * across, width).mT.reshape(x.shape)) * _HALF
        return made


class Block(nn.Module):
    """Layers of a convolution each, followed by attention across views, and across frames, where it has them."""

    def __init__(
        self, widths: Sequence[tuple[int, int]], attention: bool, model: Model, slots: int | None = None
    ) -> None:
        """`widths`: of what each layer takes and gives; `slots`: of attention, one a layer where nothing is said."""
        super().__init__()
        self.nets = nn.ModuleList(Residual(*pair) for pair in widths)
        slots = len(widths) if slots is None else slots
        if attention:
            sizes = (model.num_input_views, max(1, model.num_frames))
            width = widths[0][1]
            self.attns = nn.ModuleList(Attention(width, *sizes, over=False) for _ in range(slots))
            if model.use_temp_attn:
                self.t_attns = nn.ModuleList(Attention(width, *sizes, over=True) for _ in range(slots))

    def attended(self, x: Tensor, index: int, name: str, kept: Kept) -> Tensor:
        """What attention makes of a layer's result."""
        for kind in ("attn", "t_attn"):
            if hasattr(self, f"{kind}s"):
                x = self.get_submodule(f"{kind}s.{index}")(x)
                kept(f"{name}_{kind}{index}", x)
        return x


class DownBlock(Block):
    """Layers, and a convolution that halves the edges, where it is not the last block."""

    def __init__(self, taken: int, given: int, attention: bool, last: bool, model: Model) -> None:
        super().__init__([(taken, given), (given, given)], attention, model)
        if not last:
            self.downsample = nn.Conv2d(given, given, 3, stride=2, padding=1)

    def forward(self, x: Tensor, name: str, skips: list[Tensor], kept: Kept) -> Tensor:
        """`skips` gets every layer's result."""
        for index, net in enumerate(self.nets):
            x = net(x)
            kept(f"{name}_net{index}", x)
            x = self.attended(x, index, name, kept)
            skips.append(x)
        if hasattr(self, "downsample"):
            x = self.downsample(x)
            skips.append(x)
        return x


class MidBlock(Block):
    """A layer, attention, and a layer."""

    def __init__(self, width: int, model: Model) -> None:
        super().__init__([(width, width)] * 2, model.mid_attention, model, slots=1)

    def forward(self, x: Tensor, kept: Kept) -> Tensor:
        first, second = self.nets
        return second(self.attended(first(x), 0, "mid", kept))  # type: ignore[no-any-return]


class UpBlock(Block):
    """Layers that also take what the way down gave; and a convolution after edges were doubled, but in the last one."""

    def __init__(self, taken: int, beside: int, given: int, attention: bool, last: bool, model: Model) -> None:
        pairs = [(taken if j == 0 else given, beside if j == _UP - 1 else given) for j in range(_UP)]
        super().__init__([(one + other, given) for one, other in pairs], attention, model)
        if not last:
            self.upsample = nn.Conv2d(given, given, 3, padding=1)

    def forward(self, x: Tensor, name: str, skips: list[Tensor], kept: Kept) -> Tensor:
        """Takes the last of `skips` for every layer."""
        for index, net in enumerate(self.nets):
            x = net(torch.cat([x, skips.pop()], 1))
            kept(f"{name}_net{index}", x)
            x = self.attended(x, index, name, kept)
        if hasattr(self, "upsample"):
            x = self.upsample(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return x


class UNet(nn.Module):
    """Maps [B * T * V, 14 G, S, S] of pictures [B * T * V, 9, H, H]."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        down, up = model.down_channels, model.up_channels
        given = FIELDS * model.gaussian_perpixel
        self.conv_in = nn.Conv2d(CHANNELS, down[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(
            DownBlock(down[max(0, i - 1)], width, model.down_attention[i], i == len(down) - 1, model)
            for i, width in enumerate(down)
        )
        self.mid_block = MidBlock(down[-1], model)
        self.up_blocks = nn.ModuleList(
            UpBlock(
                up[max(0, i - 1)], down[max(-2 - i, -len(down))], width, model.up_attention[i], i == len(up) - 1, model
            )
            for i, width in enumerate(up)
        )
        self.norm_out, self.conv_out = GroupNorm(up[-1]), nn.Conv2d(up[-1], given, 3, padding=1)

    def forward(self, x: Tensor, kept: Kept) -> Tensor:
        x = self.conv_in(x)
        kept("conv_in", x)
        skips = [x]
        for index, block in enumerate(self.down_blocks):
            x = block(x, f"down{index}", skips, kept)
            kept(f"down{index}", x)
        x = self.mid_block(x, kept)
        kept("mid_block", x)
        for index, block in enumerate(self.up_blocks):
            x = block(x, f"up{index}", skips, kept)
            kept(f"up{index}", x)
        return self.conv_out(F.silu(self.norm_out(x)))  # type: ignore[no-any-return]
