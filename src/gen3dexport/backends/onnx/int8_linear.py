"""Linear layers with int8 weights and 8-bit activations, in the form that onnxruntime's integer kernels take.

The operator is one node through capture; its ONNX form stands here beside its torch form, which is the reference.
Weights are quantized per output channel and symmetrically; activations at run time, in one of two ways:
per tensor (ONNX's DynamicQuantizeLinear, which onnxruntime fuses with the product), or per token and symmetrically.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gen3dexport.models.component import Component
from gen3dexport.quantization.int8_linear import LEVELS, TINY, int8_weight
from gen3dexport.quantization.integer_product import integer_product
from gen3dexport.quantization.quantize import pick, replace_linears

_FLOAT = 1  # ONNX's number of the type


@torch.library.custom_op("gen3dexport::int8_linear", mutates_args=())
def int8_linear(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None, per_token: bool) -> Tensor:
    """x [..., K] float32, rounded to 8 bits, times weight [K, N] int8 times scale [N], plus bias [N]."""
    rows = x.flatten(0, -2)
    if per_token:
        step = rows.abs().amax(-1, keepdim=True).clamp_min(TINY) * (1 / LEVELS)
        product = integer_product((rows / step).round().to(torch.int8), weight)
    else:
        low, high = rows.min().clamp_max(0.0), rows.max().clamp_min(0.0)
        step = (high - low) / 255
        zero = (-low / step).round().clamp(0, 255).nan_to_num(0.0)
        shifted = ((rows / step).round() + zero).clamp(0, 255).nan_to_num(0.0) - 128  # the product takes signed rows
        sums = weight.sum(0, dtype=torch.int32)
        product = integer_product(shifted.to(torch.int8), weight) - (zero - 128).int() * sums
    y: Tensor = (product.float() * scale * step).reshape(*x.shape[:-1], weight.shape[1])
    return y if bias is None else y + bias


@int8_linear.register_fake
def _(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None, per_token: bool) -> Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[1]))


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """The operator's ONNX form, as `torch.onnx.export` takes it."""
    from onnx import TensorProto, helper
    from onnxscript import opset18 as op  # every operator here is the same in later opsets

    def in_onnx(x: Any, weight: Any, scale: Any, bias: Any, per_token: bool) -> Any:
        if per_token:
            # onnxruntime's fast kernels take unsigned activations: shift by 128, which the zero point takes back
            # exactly.
            zero = op.Constant(value=helper.make_tensor("zero_point", TensorProto.UINT8, [], [128]))
            largest = op.ReduceMax(op.Abs(x), op.Constant(value_ints=[-1]), keepdims=1)
            step = op.Mul(op.Max(largest, op.Constant(value_float=TINY)), op.Constant(value_float=1 / LEVELS))
            rounded = op.QuantizeLinear(op.Div(x, step), op.Constant(value_float=1.0), zero)
            product = op.Cast(op.MatMulInteger(rounded, weight, zero), to=_FLOAT)
            y = op.Mul(op.Mul(product, scale), step)
        else:
            rounded, step, zero = op.DynamicQuantizeLinear(x)
            y = op.Mul(op.Cast(op.MatMulInteger(rounded, weight, zero), to=_FLOAT), op.Mul(step, scale))
        return y if bias is None else op.Add(y, bias)

    return {torch.ops.gen3dexport.int8_linear.default: in_onnx}


class Int8Linear(nn.Module):
    """A linear layer with its weight in int8 per output channel and its input rounded to 8 bits at run time."""

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear, per_token: bool) -> None:
        super().__init__()
        weight, scale = int8_weight(linear.weight)
        self.register_buffer("weight", weight.t().contiguous())
        self.register_buffer("scale", scale)
        self.bias = linear.bias
        self.per_token = per_token

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = torch.ops.gen3dexport.int8_linear(x, self.weight, self.scale, self.bias, self.per_token)
        return result


def quantize_linears(
    component: Component, min_features: int, per_token: bool, layers: Sequence[str] | None = None
) -> Component:
    """`component` with its wide linears (those of the blocks, if it has any) as `Int8Linear`, in place.

    Raises:
        UsageError: when there is none.
    """
    replace_linears(component, pick(component, min_features, layers), lambda linear: Int8Linear(linear, per_token))
    return component
