"""Linear layers with int4 weights, two in a byte, widened before each product.

Each group of 32 inputs of an output has a scale and a zero point of its own. Compilers turn the widening into one
elementwise kernel before an ordinary product in the activations' dtype: a network of int4 weights takes 0.58 bytes a
weight, and one layer's weights more while that layer runs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.quantization.int8_linear import TINY
from gen3dexport.quantization.schemes import SCHEMES

GROUP = SCHEMES["int4-weight"].group
_LEVELS = 15


def int4_weight(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A layer's weight [N, K] in int4 per group of inputs.

    Returns:
        The numbers [N, K/32, 16] uint8 (the first of a pair in the low half), scales [N, K/32] float32 and zero points
        [N, K/64 rounded up] uint8, likewise packed: weight = (number - zero point) * scale.
    """
    groups = weight.detach().float().reshape(len(weight), -1, GROUP)
    low, high = groups.amin(-1).clamp_max(0), groups.amax(-1).clamp_min(0)
    scale = ((high - low) / _LEVELS).clamp_min(TINY)
    zero = (-low / scale).round().clamp(0, _LEVELS)
    numbers = ((groups / scale[..., None]).round() + zero[..., None]).clamp(0, _LEVELS)
    return _packed(numbers), scale, _packed(zero)


def widened(packed: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """The weight [N, K] float32 that `int4_weight` packed."""
    groups = scale.shape[1]
    return ((unpacked(packed) - unpacked(zero)[:, :groups, None].float()) * scale.float()[..., None]).flatten(1)


def _packed(values: Tensor) -> Tensor:
    """Pairs along the last axis, of numbers below 16, as bytes; an odd one out is paired with zero."""
    even = F.pad(values, (0, values.shape[-1] % 2)).to(torch.uint8)
    return even[..., 0::2] | (even[..., 1::2] << 4)


def unpacked(values: Tensor) -> Tensor:
    """The numbers of `_packed`, an odd one out with its zero."""
    return torch.stack([values & 15, values >> 4], -1).flatten(-2)


class Int4Linear(nn.Module):
    """A linear layer with its weight in int4 per group of 32 inputs; activations as they are."""

    scales: torch.dtype = torch.float16
    packed: Tensor
    scale: Tensor
    zero: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        packed, scale, zero = int4_weight(linear.weight)
        self.register_buffer("packed", packed)
        self.register_buffer("scale", scale.to(self.scales))
        self.register_buffer("zero", zero)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        weight = widened(self.packed, self.scale, self.zero).to(x.dtype)
        return F.linear(x, weight, None if self.bias is None else self.bias.to(x.dtype))
