"""Linear layers with int8 weights and 8-bit activations, in the form that onnxruntime's integer kernels take.

The operator is one node through capture; its ONNX form is here beside its torch form, which is the reference.
Symmetric quantization: weights per output channel, activations per token, chosen at run time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gen3dexport.errors import UsageError
from gen3dexport.models.component import Component
from gen3dexport.quantize import linears

_LEVELS = 127.0
_TINY = 1e-8  # keeps a row of zeros (a masked token) from a division by zero
_FLOAT, _UINT8 = 1, 2  # ONNX's numbers of these types


@torch.library.custom_op("gen3dexport::int8_linear", mutates_args=())
def int8_linear(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """x [..., K] float32 times weight [K, N] int8 times scale [N], plus bias [N]; x rounded to 8 bits per row."""
    largest = x.abs().amax(-1, keepdim=True).clamp_min(_TINY)
    rounded = (x * (_LEVELS / largest)).round().to(torch.int8)
    product = torch._int_mm(rounded.flatten(0, -2), weight).reshape(*x.shape[:-1], weight.shape[1])
    y: Tensor = product.float() * scale * (largest / _LEVELS)
    return y if bias is None else y + bias


@int8_linear.register_fake
def _(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[1]))


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """The operator's ONNX form, as `torch.onnx.export` takes it."""
    from onnx import TensorProto, helper
    from onnxscript import opset18 as op  # every operator here is the same in later opsets

    def in_onnx(x: Any, weight: Any, scale: Any, bias: Any = None) -> Any:
        largest = op.ReduceMax(op.Abs(x), op.Constant(value_ints=[-1]), keepdims=1)
        largest = op.Max(largest, op.Constant(value_float=_TINY))
        rounded = op.Round(op.Mul(x, op.Div(op.Constant(value_float=_LEVELS), largest)))
        # onnxruntime's fast kernels take unsigned activations (signed ones are 4 to 7 times slower), so shift by 128:
        # the zero point takes it back exactly.
        shifted = op.Cast(op.Add(rounded, op.Constant(value_float=128.0)), to=_UINT8)
        zero = op.Constant(value=helper.make_tensor("zero_point", TensorProto.UINT8, [], [128]))
        product = op.Cast(op.MatMulInteger(shifted, weight, zero), to=_FLOAT)
        y = op.Mul(op.Mul(product, scale), op.Mul(largest, op.Constant(value_float=1 / _LEVELS)))
        return y if bias is None else op.Add(y, bias)

    return {torch.ops.gen3dexport.int8_linear.default: in_onnx}


class Int8Linear(nn.Module):
    """A linear layer with its weight in int8 per output channel; activations are rounded to 8 bits per token."""

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        scale = weight.abs().amax(1).clamp_min(_TINY) / _LEVELS
        self.register_buffer("weight", (weight / scale[:, None]).round().to(torch.int8).t().contiguous())
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = torch.ops.gen3dexport.int8_linear(x, self.weight, self.scale, self.bias)
        return result


def replace_linears(component: Component, min_features: int) -> Component:
    """`component` with its wide linears (those of the blocks, if it has any) as `Int8Linear`, in place.

    Raises:
        UsageError: when there is none.
    """
    picked = linears(component, min_features)
    if not picked:
        raise UsageError(
            f"{component.name}: no linear layer with at least {min_features} inputs to quantize; use scheme fp32"
        )
    for name in picked:
        linear = component.module.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        component.module.set_submodule(name, Int8Linear(linear))
    return component
