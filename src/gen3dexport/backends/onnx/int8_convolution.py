"""Convolutions with int8 weights and 8-bit activations in observed ranges, as ONNX's QLinearConv.

One node through capture, with its ONNX form beside its torch form, which is the reference. Activations are unsigned in
ONNX, for onnxruntime's kernels are faster so: a zero point is 128 higher than in other backends, the scale the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.models.ranges import Ranges, Rounding
from gen3dexport.quantization.calibration import HIGHEST, LOWEST
from gen3dexport.quantization.int8_convolution import BY_DIMENSIONS, Convolution, pads_of
from gen3dexport.quantization.int8_linear import int8_weight

_SHIFT = 128  # from signed to unsigned
_WEIGHT, _WEIGHT_ZERO = 3, 5  # places among QLinearConv's inputs


@torch.library.custom_op("gen3dexport::int8_convolution", mutates_args=())
def int8_convolution(
    x: Tensor,
    weight: Tensor,
    scale: Tensor,
    bias: Tensor,
    steps: Sequence[float],
    zero_points: Sequence[int],
    stride: Sequence[int],
    pads: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """x [B, C, ...] float32, rounded to the first step, convolved with weight [O, C, ...] int8 times scale [O], plus
    bias [O] int32 in steps of the product, rounded to the second step. Pads: zeros before each axis, then after."""
    form = (LOWEST, HIGHEST)
    rounded = torch.fake_quantize_per_tensor_affine(x, steps[0], zero_points[0], *form)
    kernel = weight.float() * scale.view(-1, *[1] * (weight.dim() - 1))
    half = len(pads) // 2
    around = [n for k in reversed(range(half)) for n in (pads[k], pads[half + k])]
    rest = (stride, 0, dilation, groups)
    y = BY_DIMENSIONS[weight.dim()](F.pad(rounded, around), kernel, bias.float() * scale * steps[0], *rest)
    return torch.fake_quantize_per_tensor_affine(y, steps[1], zero_points[1], *form)


@int8_convolution.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    scale: Tensor,
    bias: Tensor,
    steps: Sequence[float],
    zero_points: Sequence[int],
    stride: Sequence[int],
    pads: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    half = len(pads) // 2
    reach = [dilation[k] * (weight.shape[2 + k] - 1) + 1 for k in range(half)]
    size = [(x.shape[2 + k] + pads[k] + pads[half + k] - reach[k]) // stride[k] + 1 for k in range(half)]
    return x.new_empty((x.shape[0], weight.shape[0], *size))


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """The operator's ONNX form, as `torch.onnx.export` takes it."""
    from onnx import TensorProto, helper
    from onnxscript import opset18 as op  # every operator here is the same in later opsets

    def scalar(value: float) -> Any:
        return op.Constant(value_float=float(value))

    def unsigned(value: int) -> Any:
        return op.Constant(value=helper.make_tensor("zero_point", TensorProto.UINT8, [], [value + _SHIFT]))

    def in_onnx(
        x: Any, weight: Any, scale: Any, bias: Any, steps: Any, zero_points: Any, stride: Any, pads: Any,
        dilation: Any, groups: int,
    ) -> Any:  # fmt: skip
        taken, given = ((scalar(s), unsigned(z)) for s, z in zip(steps, zero_points, strict=True))
        signed = op.Constant(value=helper.make_tensor("weight_zero", TensorProto.INT8, [], [0]))
        y = op.QLinearConv(
            op.QuantizeLinear(x, *taken), *taken, weight, scale, signed, *given, bias,
            strides=list(stride), pads=list(pads), dilations=list(dilation), group=groups,
        )  # fmt: skip
        return op.DequantizeLinear(y, *given)

    return {torch.ops.gen3dexport.int8_convolution.default: in_onnx}


def own_zero_points(model: Any) -> None:
    """Give every convolution of an `onnx_ir` model a zero point of its weight by itself.

    The exporter makes one of equal constants. onnxruntime 1.32 does not load a model whose convolutions share it where
    it rewrites int8 weights as uint8: with `session.x64quantprecision`, on x86 processors without VNNI.
    """
    import numpy as np
    import onnx_ir

    for graph in model.graphs():
        for node in graph:
            if node.op_type == "QLinearConv":
                shared, weight = node.inputs[_WEIGHT_ZERO], node.inputs[_WEIGHT]
                own = onnx_ir.Value(name=f"{weight.name}.zero_point")
                own.const_value = onnx_ir.tensor(np.int8(0), name=own.name)
                own.type, own.shape = onnx_ir.TensorType(onnx_ir.DataType.INT8), onnx_ir.Shape([])
                graph.register_initializer(own)
                node.replace_input_with(_WEIGHT_ZERO, own)
                if not shared.uses() and shared.name in graph.initializers:
                    del graph.initializers[shared.name]


class Int8Convolution(nn.Module):
    """A convolution with int8 weights per output channel and observed ranges of input and output."""

    weight: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, convolution: Convolution, ranges: Ranges) -> None:
        super().__init__()
        weight, scale = int8_weight(convolution.weight)
        bias = torch.zeros(len(scale)) if convolution.bias is None else convolution.bias.detach().float()
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", (bias / (scale * ranges.input.scale)).round().to(torch.int32))
        self.steps, self.zero_points = _fields((ranges.input, ranges.output))
        sides = pads_of(convolution.padding, convolution.kernel_size, convolution.dilation)
        self.pads = [before for before, _ in sides] + [after for _, after in sides]
        self.stride, self.dilation = list(convolution.stride), list(convolution.dilation)
        self.groups = convolution.groups

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = torch.ops.gen3dexport.int8_convolution(
            x.float(), self.weight, self.scale, self.bias, self.steps, self.zero_points, self.stride, self.pads,
            self.dilation, self.groups,
        )  # fmt: skip
        return y.to(x.dtype)


def _fields(steps: Sequence[Rounding]) -> tuple[list[float], list[int]]:
    return [s.scale for s in steps], [s.zero_point for s in steps]
