"""TripoSG's flow: the velocity of a set of latent vectors under a picture's tokens. Names of the released tensors.

A U-shaped transformer: what the blocks of the first half give goes to those of the second, last first.
Source: Li et al. 2025, "TripoSG".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.models.triposg.host.model import Transformer
from gen3dexport.models.triposg.networks.layers import EPS, Attention, FeedForward
from gen3dexport.networks.half_precision import FloatNorm, HalfBlocks
from gen3dexport.networks.step_weights import step_table


class Block(nn.Module):
    """Self-attention, attention over the condition and MLP, each after a norm and added to its input."""

    def __init__(self, config: Transformer, skips: bool) -> None:
        """`skips`: whether it takes what an earlier block gave."""
        super().__init__()
        width, heads, condition = config.width, config.num_attention_heads, config.cross_attention_dim
        self.norm1, self.norm2, self.norm3 = (FloatNorm(width, eps=EPS) for _ in range(3))
        self.attn1 = Attention(width, width, heads, cross=False, head_norms=True)
        self.attn2 = Attention(width, condition, heads, cross=True, head_norms=True)
        self.ff = FeedForward(width)
        if skips:
            self.skip_linear = nn.Linear(2 * width, width)
            self.skip_norm = FloatNorm(width, eps=EPS)

    def forward(self, x: Tensor, cond: Tensor, earlier: Tensor | None = None) -> Tensor:
        if earlier is not None:
            x = self.skip_norm(self.skip_linear(torch.cat([earlier, x], -1)))
        h = self.norm1(x)
        x = x + self.attn1(h, h)
        x = x + self.attn2(self.norm2(x), cond)
        return x + self.ff(self.norm3(x))  # type: ignore[no-any-return]


class TimeEmbedding(nn.Module):
    """A timestep's token through two layers; float32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.linear_1, self.linear_2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, t: Tensor) -> Tensor:
        return self.linear_2(F.gelu(self.linear_1(sinusoid(t, self.width))))  # type: ignore[no-any-return]


def sinusoid(t: Tensor, width: int) -> Tensor:
    """Features [sin | cos] of timesteps t [B] in 0..1000, as [B, width] float32."""
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32, device=t.device)
    angles = t.float()[:, None] * torch.exp(-math.log(10000.0) * steps / half)
    return torch.cat([angles.sin(), angles.cos()], -1)


class Flow(HalfBlocks):
    """Velocity [B, N, C] from noise to data of latents x [B, N, C] at t [B] in 0..1000 under cond [B, M, D]."""

    def __init__(self, config: Transformer) -> None:
        super().__init__()
        count, width = config.num_layers, config.width
        self.first_half = count // 2
        self.time_proj: nn.Module = TimeEmbedding(width)
        self.proj_in = nn.Linear(config.in_channels, width)
        self.blocks = nn.ModuleList(Block(config, skips=i > self.first_half) for i in range(count))
        self.norm_out = FloatNorm(width, eps=EPS)
        self.proj_out = nn.Linear(width, config.in_channels)

    def tabulate_time(self, timesteps: Sequence[float]) -> None:
        """Take timesteps among these alone (falling): their tokens as a table, where that is smaller."""
        if len(timesteps) < self.proj_in.out_features:
            self.time_proj = step_table(self.time_proj, timesteps)

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        h = torch.cat([self.time_proj(t)[:, None], self.proj_in(x)], 1).to(self.block_dtype)
        cond = cond.to(self.block_dtype)
        given: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            h = block(h, cond, given.pop() if index > self.first_half else None)
            if index < self.first_half:
                given.append(h)
        return self.proj_out(self.norm_out(h.float())[:, 1:])  # type: ignore[no-any-return]
