"""The backbone: a stream of plane tokens and a stream of latents that read each other in turns (two streams).

Names of the released tensors. Source: Boss et al. 2024, "Stable Fast 3D"; Jabri et al. 2022, "Scalable Adaptive
Computation for Iterative Generation".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gen3dexport.models.sf3d.host import parts
from gen3dexport.models.sf3d.networks.attention import attend
from gen3dexport.networks.gated_mlp import FeedForward
from gen3dexport.networks.half_precision import FloatNorm, HalfBlocks

_EPS = 1e-5


class CrossAttention(nn.Module):
    """Multi-head attention of tokens [B, T, C] over a context [B, L, W], which is used as it is."""

    def __init__(self, width: int, context_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.wq = nn.Linear(width, width, bias=False)
        self.wk = nn.Linear(context_width, width, bias=False)
        self.wv = nn.Linear(context_width, width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        attended = attend(self.wq(x), self.wk(context), self.wv(context), self.heads)
        return self.proj(attended)  # type: ignore[no-any-return]


class FuseBlock(nn.Module):
    """One stream [B, T, C] reads the other [B, L, C], which is used as it is; then an MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_z1, self.norm_z2 = FloatNorm(width, eps=_EPS), FloatNorm(width, eps=_EPS)
        self.attn = CrossAttention(width, width, heads)
        self.ff = FeedForward(width)

    def forward(self, z: Tensor, other: Tensor) -> Tensor:
        z = z + self.attn(self.norm_z1(z), other)
        return z + self.ff(self.norm_z2(z))  # type: ignore[no-any-return]


class BasicBlock(nn.Module):
    """Self-attention, attention over the picture's tokens and MLP, each after a norm and added to its input."""

    def __init__(self, width: int, context_width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (FloatNorm(width, eps=_EPS) for _ in range(3))
        self.attn1 = CrossAttention(width, width, heads)
        self.attn2 = CrossAttention(width, context_width, heads)
        self.ff = FeedForward(width)

    def forward(self, z: Tensor, image: Tensor) -> Tensor:
        n = self.norm1(z)
        z = z + self.attn1(n, n)
        z = z + self.attn2(self.norm2(z), image)
        return z + self.ff(self.norm3(z))  # type: ignore[no-any-return]


class TwoStreamBlock(nn.Module):
    """Latents read the plane tokens, work by themselves, and are read by the plane tokens.

    Takes and gives both streams as one, [B, L + T, C], latents first.
    """

    def __init__(self, config: parts.Backbone) -> None:
        super().__init__()
        width, heads = config.width, config.num_attention_heads
        self.fuse_block_in = FuseBlock(width, heads)
        self.transformer_block = nn.ModuleList(
            BasicBlock(width, config.cross_attention_dim, heads) for _ in range(config.num_basic_blocks)
        )
        self.fuse_block_out = FuseBlock(width, heads)
        self.latents = config.num_latents

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        count = self.latents + image.shape[1]
        latents, tokens = x[:, :count], x[:, count:]
        latents = self.fuse_block_in(latents, tokens)
        for block in self.transformer_block:
            latents = block(latents, image)
        return torch.cat([latents, self.fuse_block_out(tokens, latents)], 1)


class TwoStream(HalfBlocks):
    """Tokens [B, C, T] under a picture's tokens [B, I, W] -> tokens [B, C, T]."""

    stack = "main_blocks"
    halved = "main_blocks"

    def __init__(self, config: parts.Backbone) -> None:
        super().__init__()
        width, raw, image = config.width, config.raw_triplane_channels, config.raw_image_channels
        self.latent_init = nn.Parameter(torch.randn(1, config.num_latents, width) * 0.02)
        self.norm_triplane = nn.GroupNorm(config.norm_num_groups, raw, eps=1e-6)
        self.proj_triplane = nn.Linear(raw, width)
        self.norm_image = nn.LayerNorm(image, eps=_EPS)
        self.proj_image = nn.Linear(image, width)
        self.norm_latent = nn.LayerNorm(width, eps=_EPS)
        self.proj_latent = nn.Linear(width, width)
        self.main_blocks = nn.ModuleList(TwoStreamBlock(config) for _ in range(config.num_blocks))
        self.proj_out = nn.Linear(width, raw)

    def before(self, tokens: Tensor, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both streams [B, I + L + T, C] as one and the picture's tokens, in the blocks' dtype; and the tokens."""
        rows = self.proj_triplane(self.norm_triplane(tokens).mT)
        latents = self.proj_latent(self.norm_latent(self.latent_init)).expand(len(tokens), -1, -1)
        x = torch.cat([self.proj_image(self.norm_image(image)), latents, rows], 1)
        return x.to(self.block_dtype), image.to(self.block_dtype), tokens

    def after(self, x: Tensor, image: Tensor, tokens: Tensor) -> Tensor:
        """Tokens of the last rows, added to those that entered."""
        rows = x[:, -tokens.shape[2] :].float()
        return self.proj_out(rows).mT + tokens  # type: ignore[no-any-return]

    def forward(self, tokens: Tensor, image: Tensor) -> Tensor:
        x, image, tokens = self.before(tokens, image)
        for block in self.main_blocks:
            x = block(x, image)
        return self.after(x, image, tokens)
