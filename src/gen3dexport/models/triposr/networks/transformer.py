"""The backbone's transformer: plane tokens under the picture's tokens. Names of the released tensors.

Source: Tochilkin et al. 2024, "TripoSR".
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from gen3dexport.models.triposr.host.model import Backbone
from gen3dexport.models.triposr.networks.attention import attend
from gen3dexport.networks.gated_mlp import FeedForward
from gen3dexport.networks.half_precision import FloatNorm, HalfBlocks


class Attention(nn.Module):
    """Multi-head attention of tokens [B, T, C] over a context [B, L, W], which is used as it is."""

    def __init__(self, width: int, context_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context_width, width, bias=False)
        self.to_v = nn.Linear(context_width, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        attended = attend(self.to_q(x), self.to_k(context), self.to_v(context), self.heads)
        return self.to_out[0](attended)  # type: ignore[no-any-return]


class TransformerBlock(nn.Module):
    """Self-attention, attention over the context and MLP, each after a norm and added to its input."""

    def __init__(self, width: int, context_width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (FloatNorm(width, eps=1e-5) for _ in range(3))
        self.attn1 = Attention(width, width, heads)
        self.attn2 = Attention(width, context_width, heads)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        h = self.norm1(x)
        x = x + self.attn1(h, h)
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))  # type: ignore[no-any-return]


class Ends(Protocol):
    """What lies around the blocks."""

    norm: nn.GroupNorm
    proj_in: nn.Linear
    proj_out: nn.Linear


def enter(ends: Ends, tokens: Tensor) -> Tensor:
    """Rows [B, T, W] of the blocks, of tokens [B, C, T]."""
    return ends.proj_in(ends.norm(tokens).mT)  # type: ignore[no-any-return]


def leave(ends: Ends, x: Tensor, tokens: Tensor) -> Tensor:
    """Tokens [B, C, T] of the blocks' last rows [B, T, W], added to those that entered."""
    return ends.proj_out(x.float()).mT + tokens  # type: ignore[no-any-return]


class Transformer(HalfBlocks):
    """Tokens [B, C, T] under a context [B, L, W] -> tokens [B, C, T]."""

    stack = "transformer_blocks"
    halved = "transformer_blocks"

    def __init__(self, config: Backbone) -> None:
        super().__init__()
        width = config.num_attention_heads * config.attention_head_dim
        self.norm = nn.GroupNorm(config.norm_num_groups, config.in_channels, eps=1e-6)
        self.proj_in = nn.Linear(config.in_channels, width)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(width, config.cross_attention_dim, config.num_attention_heads)
            for _ in range(config.num_layers)
        )
        self.proj_out = nn.Linear(width, config.in_channels)

    def before(self, tokens: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rows and context in the blocks' dtype, and the tokens."""
        return enter(self, tokens).to(self.block_dtype), context.to(self.block_dtype), tokens

    def after(self, x: Tensor, context: Tensor, tokens: Tensor) -> Tensor:
        """Tokens of the last rows."""
        return leave(self, x, tokens)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        x, context, tokens = self.before(tokens, context)
        for block in self.transformer_blocks:
            x = block(x, context)
        return self.after(x, context, tokens)
