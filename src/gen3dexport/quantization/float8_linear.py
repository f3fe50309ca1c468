"""Linear layers with float8 weights and float8 activations: one product of float8 operands with two vectors of scales.

The form that float8 matrix units take (NVIDIA's since compute capability 8.9): both operands in e4m3, a float32 scale
per row of each, the sum in float32, the result rounded to bfloat16. torchao's form of it is made on such a GPU alone;
this one is also made, captured and checked on a CPU, whose kernel widens both operands.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gen3dexport.quantization.int8_linear import TINY
from gen3dexport.quantization.schemes import SCHEMES

LARGEST = 448.0  # of e4m3 (Micikevicius et al. 2022, "FP8 Formats for Deep Learning", table 1)
MULTIPLE = SCHEMES["float8-dynamic"].multiple


def float8_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """`x` [M, K] in e4m3 and its scale [M, 1] float32: the largest magnitude of a row becomes 448."""
    largest = x.abs().amax(-1, keepdim=True).float().clamp_min(TINY)
    return (x.float() * (LARGEST / largest)).clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn), largest * (1 / LARGEST)


class Float8Linear(nn.Module):
    """A linear layer with float8 weights per output channel, its input rounded to float8 per token at run time.

    Weights are [N, K], as `nn.Linear` has them.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scale = float8_rows(linear.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale.t().contiguous())  # [1, N]
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        rows, scale = float8_rows(x.flatten(0, -2))
        y = torch._scaled_mm(rows, self.weight.t(), scale, self.scale, out_dtype=torch.bfloat16).float()
        y = y if self.bias is None else y + self.bias
        return y.to(x.dtype).reshape(*x.shape[:-1], y.shape[-1])
