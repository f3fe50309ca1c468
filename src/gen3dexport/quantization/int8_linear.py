"""Linear layers with int8 weights and int8 activations, written for compilers: one integer product, one multiplication.

torchao's form of the same arithmetic costs time in every compiler here: on CPUs with VNNI it shifts activations to
unsigned bytes and corrects the product afterwards, and it scales twice, with clamps that cannot clamp anything.
benchmarks/dit_blocks.py times this form.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.quantization.integer_product import integer_product

LEVELS = 127.0
_CUDA_ROWS = 32  # CUDA's integer product takes no fewer than 17
TINY = 1e-8  # keeps rows of zeros (masked tokens) from a division by zero


def int8_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A layer's weight [N, ...] in int8, and its scale [N] float32 per output channel: symmetric, 127 the largest."""
    weight = weight.detach().float()
    scale = weight.flatten(1).abs().amax(1).clamp_min(TINY) / LEVELS
    return (weight / scale.view(-1, *[1] * (weight.dim() - 1))).round().to(torch.int8), scale


class Int8Linear(nn.Module):
    """A linear layer with its weight in int8 per output channel and its input rounded to int8 per token at run time.

    Both are symmetric: the largest magnitude of a row becomes 127. Weights are [N, K], as `nn.Linear` has them and as
    CUDA's integer product reads them.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scale = int8_weight(linear.weight)
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        return int8_linear(x, self.weight, self.scale, self.bias)


def int8_linear(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """x [..., K], rounded to int8 per row, times weight [N, K] int8 times scale [N], plus bias [N]: [..., N]."""
    rows = x.flatten(0, -2)
    largest = rows.abs().amax(-1, keepdim=True).float().clamp_min(TINY)
    rounded = torch.round(rows.float() * (LEVELS / largest)).to(torch.int8)
    count = len(rows)
    if rows.is_cuda and count < _CUDA_ROWS:  # in a capture, which is on the CPU, a backend pads for its device
        rounded = F.pad(rounded, (0, 0, 0, _CUDA_ROWS - count))
    product = integer_product(rounded, weight.t())
    product = (product[:count] if len(product) > count else product).float()
    y = product * (largest * (1 / LEVELS)) * scale
    y = y if bias is None else y + bias
    return y.to(x.dtype).reshape(*x.shape[:-1], y.shape[-1])
