"""Shap-E's diffusion transformer: the clean latents in noisy ones, under CLIP's vector or tokens. Published names.

Source: Jun and Nichol 2023, "Shap-E: Generating Conditional 3D Implicit Functions".
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.models.shap_e.host.model import Prior as Config
from gen3dexport.networks.half_precision import FloatNorm, HalfBlocks
from gen3dexport.networks.packed_heads import attend, by_head


class Attention(nn.Module):
    """Self-attention of tokens [B, T, W]."""

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads, inner = heads, heads * head_width
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, inner) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(inner, width)])

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = (by_head(layer(x), self.heads) for layer in (self.to_q, self.to_k, self.to_v))
        return self.to_out[0](attend(queries, keys, values))  # type: ignore[no-any-return]


class Inner(nn.Module):
    """A linear layer and GELU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.proj(x))


class FeedForward(nn.Module):
    """A layer of four times the width, and back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.ModuleDict({"0": Inner(width), "2": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor) -> Tensor:
        return self.net["2"](self.net["0"](x))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Self-attention and MLP, each after a norm and added to its input."""

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.norm1, self.norm3 = FloatNorm(width), FloatNorm(width)
        self.attn1, self.ff = Attention(width, heads, head_width), FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn1(self.norm1(x))
        return x + self.ff(self.norm3(x))  # type: ignore[no-any-return]


class TimeEmbedding(nn.Module):
    """A timestep's token [B, W] of t [B] through two layers; float32."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.width, inner = config.width, config.time_embed_dim or config.width
        self.activation = F.gelu if config.time_embed_act_fn == "gelu" else F.silu
        self.linear_1, self.linear_2 = nn.Linear(self.width, inner), nn.Linear(inner, self.width)

    def forward(self, t: Tensor) -> Tensor:
        half = self.width // 2
        steps = torch.arange(half, dtype=torch.float32, device=t.device)
        angles = t.float()[:, None] * torch.exp(-math.log(10000.0) * steps / half)
        return self.linear_2(self.activation(self.linear_1(torch.cat([angles.cos(), angles.sin()], -1))))  # type: ignore[no-any-return]


class Prior(HalfBlocks):
    """Clean latents [B, N, C] (`trim` leaves the rest out, which is their variance) of noisy ones x [B, N, D] at t [B]
    under `cond`: a vector [B, P] of a prompt or tokens [B, L, P] of a picture."""

    stack = "transformer_blocks"
    halved = "transformer_blocks"

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.width
        self.latents, self.kept = config.num_embeddings, config.embedding_dim
        self.positional_embedding = nn.Parameter(0.02 * torch.randn(1, config.num_embeddings, width))
        self.clip_mean, self.clip_std = (nn.Parameter(torch.zeros(1, config.outputs)) for _ in range(2))
        self.time_embedding = TimeEmbedding(config)
        self.proj_in = nn.Linear(config.embedding_dim, width)
        if config.embedding_proj_norm_type:
            self.embedding_proj_norm = FloatNorm(config.embedding_proj_dim)
        self.embedding_proj = nn.Linear(config.embedding_proj_dim, width)
        heads, each = config.num_attention_heads, config.attention_head_dim
        self.transformer_blocks = nn.ModuleList(Block(width, heads, each) for _ in range(config.num_layers))
        self.norm_in, self.norm_out = FloatNorm(width), FloatNorm(width)
        self.proj_to_clip_embeddings = nn.Linear(width, config.outputs)

    def trim(self) -> Prior:
        """Without the released tensors that sampling does not need."""
        del self.clip_mean, self.clip_std
        last = self.proj_to_clip_embeddings
        last.weight = nn.Parameter(last.weight.detach()[: self.kept].contiguous(), requires_grad=False)
        last.bias = nn.Parameter(last.bias.detach()[: self.kept].contiguous(), requires_grad=False)
        last.out_features = self.kept
        return self

    def before(self, x: Tensor, t: Tensor, cond: Tensor) -> tuple[Tensor]:
        """Tokens of the condition, the timestep and the latents, in the blocks' dtype. Latents alone have places."""
        if hasattr(self, "embedding_proj_norm"):
            cond = self.embedding_proj_norm(cond)
        told = self.embedding_proj(cond)
        told = told[:, None] if told.ndim == 2 else told
        latents = self.proj_in(x) + self.positional_embedding
        h = torch.cat([told, self.time_embedding(t)[:, None], latents], 1)
        return (self.norm_in(h).to(self.block_dtype),)

    def after(self, x: Tensor) -> Tensor:
        """What the last rows give."""
        return self.proj_to_clip_embeddings(self.norm_out(x.float())[:, -self.latents :])  # type: ignore[no-any-return]

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        (h,) = self.before(x, t, cond)
        for block in self.transformer_blocks:
            h = block(h)
        return self.after(h)
