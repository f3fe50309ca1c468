"""The int8 linear layer as one operator through capture, which a kernel can take whole. Imports torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gen3dexport.quantization.int8_linear import Int8Linear, int8_linear


@torch.library.custom_op("gen3dexport::int8_dynamic_linear", mutates_args=())
def int8_dynamic_linear(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """`int8_linear`, kept whole."""
    return int8_linear(x, weight, scale, bias)


@int8_dynamic_linear.register_fake
def _(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


INT8_LINEAR = torch.ops.gen3dexport.int8_dynamic_linear.default


class WholeInt8Linear(Int8Linear):
    """`Int8Linear` that is one operator, with its bias in float32, as it is added."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear)
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().float())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = int8_dynamic_linear(x, self.weight, self.scale, self.bias)
        return y
