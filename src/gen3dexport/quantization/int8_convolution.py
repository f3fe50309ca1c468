"""Convolutions with int8 weights and int8 activations whose ranges were observed: static quantization.

The arithmetic of quantize -> dequantize -> convolution -> quantize -> dequantize, as `prepare_pt2e` and `convert_pt2e`
write it, at the layers that a scheme takes. Here it is the reference: plain ATen in float, on the integers' grid. A
backend whose kernels take such convolutions has its own form, with the same weights and scales.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.models.ranges import Ranges, Rounding
from gen3dexport.quantization.calibration import HIGHEST, LOWEST
from gen3dexport.quantization.int8_linear import int8_weight

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
BY_DIMENSIONS: dict[int, Callable[..., Tensor]] = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}
"""The function by the dimensions of its weight."""


def pads_of(padding: Sequence[int] | str, kernel: Sequence[int], dilation: Sequence[int]) -> list[tuple[int, int]]:
    """Zeros before and after each axis of the kernel."""
    if padding == "valid":
        return [(0, 0)] * len(kernel)
    if isinstance(padding, str):  # "same": torch puts the odd one after
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return [(n // 2, n - n // 2) for n in totals]
    given = tuple(padding) * len(kernel) if len(padding) == 1 else tuple(padding)
    return [(p, p) for p in given]


class Int8Convolution(nn.Module):
    """A convolution on the integers' grid: its weight is kept in int8, input and output are rounded to int8."""

    weight: Tensor
    scale: Tensor

    def __init__(self, convolution: Convolution, ranges: Ranges) -> None:
        super().__init__()
        weight, scale = int8_weight(convolution.weight)
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale.view(-1, *[1] * (weight.dim() - 1)))
        self.bias = convolution.bias
        self.ranges = ranges
        self.stride, self.dilation, self.groups = convolution.stride, convolution.dilation, convolution.groups
        self.padding = convolution.padding
        self.function = BY_DIMENSIONS[weight.dim()]

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.weight.float() * self.scale
        bias = None if self.bias is None else self.bias.float()
        rest = (self.stride, self.padding, self.dilation, self.groups)
        y = self.function(_rounded(x.float(), self.ranges.input), kernel, bias, *rest)
        return _rounded(y, self.ranges.output).to(x.dtype)


def _rounded(x: Tensor, step: Rounding) -> Tensor:
    return torch.fake_quantize_per_tensor_affine(x, step.scale, step.zero_point, LOWEST, HIGHEST)
