"""Static int8 convolutions in the form that XNNPACK's partitioner matches.

Activations and weights pass through the `quantized_decomposed` operators of PT2E, and a 3-D convolution is laid out as
a 2-D one before its input is quantized: the partitioner takes a convolution only with a dequantization right before
it. Quantized earlier, before the depth's taps are laid side by side, ExecuTorch refuses the rest of the pattern
("missing out variants"). With observed ranges XNNPACK's convolution is integer from end to end; with ranges chosen at
run time (`choose_qparams`) the file lowers and then fails when it runs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.backends.executorch.convolution import as_3d, kernel_2d, lay_out
from gen3dexport.errors import UsageError
from gen3dexport.models.ranges import Ranges, Rounding
from gen3dexport.quantization.calibration import HIGHEST, LOWEST
from gen3dexport.quantization.int8_convolution import Convolution, pads_of
from gen3dexport.quantization.int8_linear import int8_weight


class Int8Convolution(nn.Module):
    """A 2-D or 3-D convolution with int8 weights per output channel and observed ranges of input and output."""

    weight: Tensor
    scale: Tensor
    zero_point: Tensor

    def __init__(self, convolution: Convolution, ranges: Ranges) -> None:
        super().__init__()
        if isinstance(convolution, nn.Conv1d):
            raise UsageError(
                "int8-static on executorch takes 2-D and 3-D convolutions; leave this one with scheme fp32"
            )
        import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401  registers quantized_decomposed

        weight, scale = int8_weight(convolution.weight)
        self.taps = weight.shape[2] if weight.dim() == 5 else None
        self.register_buffer("weight", kernel_2d(weight) if self.taps else weight)
        self.register_buffer("scale", scale)
        self.register_buffer("zero_point", torch.zeros(len(scale), dtype=torch.int64))
        self.bias = convolution.bias
        self.ranges = ranges
        self.stride, self.dilation, self.groups = convolution.stride, convolution.dilation, convolution.groups
        self.pads = pads_of(convolution.padding, convolution.kernel_size, convolution.dilation)

    def forward(self, x: Tensor) -> Tensor:
        if self.taps is None:
            (top, bottom), (left, right) = self.pads
            same = top == bottom and left == right
            h = x if same else F.pad(x, (left, right, top, bottom))
            return self._convolution(h, (top, left) if same else (0, 0)).to(x.dtype)
        h, padding, depth = lay_out(x, self.taps, self.stride, self.pads, self.dilation, self.groups)
        return as_3d(self._convolution(h, padding), depth).to(x.dtype)

    def _convolution(self, h: Tensor, padding: tuple[int, int]) -> Tensor:
        operators = torch.ops.quantized_decomposed
        kernel = operators.dequantize_per_channel(
            self.weight, self.scale, self.zero_point, 0, -HIGHEST, HIGHEST, torch.int8
        )
        rest = (tuple(self.stride[-2:]), padding, tuple(self.dilation[-2:]), self.groups)
        return _rounded(F.conv2d(_rounded(h.float(), self.ranges.input), kernel, self.bias, *rest), self.ranges.output)


def _rounded(x: Tensor, step: Rounding) -> Tensor:
    operators, form = torch.ops.quantized_decomposed, (step.scale, step.zero_point, LOWEST, HIGHEST, torch.int8)
    result: Tensor = operators.dequantize_per_tensor(operators.quantize_per_tensor(x, *form), *form)
    return result
