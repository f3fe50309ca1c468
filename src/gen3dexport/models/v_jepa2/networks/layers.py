"""Layers of the encoder and the predictor, tensors under their released names."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.models.v_jepa2.networks.positions import pairs_apart, turn
from gen3dexport.networks.half_precision import FloatNorm
from gen3dexport.networks.packed_heads import attend, by_head


class Attention(nn.Module):
    """Self-attention of tokens [B, N, C], queries and keys turned by the tokens' places."""

    def __init__(self, width: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.heads, self.arranged = heads, False
        self.query, self.key, self.value = (nn.Linear(width, width, bias=bias) for _ in range(3))
        self.proj = nn.Linear(width, width)

    def arrange(self) -> None:
        """Put the channels of queries and keys into the order that `turn` takes, once."""
        if self.arranged:
            return
        each = self.query.out_features // self.heads
        order = pairs_apart(each)
        rows = (torch.arange(self.heads, device=order.device)[:, None] * each + order).flatten()
        for layer in (self.query, self.key):
            rows = rows.to(layer.weight.device)
            layer.weight = nn.Parameter(layer.weight.detach()[rows], requires_grad=False)
            if layer.bias is not None:
                layer.bias = nn.Parameter(layer.bias.detach()[rows], requires_grad=False)
        self.arranged = True

    def forward(self, x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        q, k, v = (by_head(layer(x), self.heads) for layer in (self.query, self.key, self.value))
        return self.proj(attend(turn(q, cosines, sines), turn(k, cosines, sines), v))  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """A wider layer with GELU, and back."""

    def __init__(self, width: int, ratio: float) -> None:
        super().__init__()
        inner = int(width * ratio)
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Attention and MLP, each after a norm and added to its input."""

    def __init__(self, width: int, heads: int, ratio: float, bias: bool, eps: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = FloatNorm(width, eps=eps), FloatNorm(width, eps=eps)
        self.attention, self.mlp = Attention(width, heads, bias), Mlp(width, ratio)

    def forward(self, x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), cosines, sines)
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]
