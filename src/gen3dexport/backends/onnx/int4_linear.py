"""Linear layers with int4 weights, two in a byte, as onnxruntime's MatMulNBits.

One node through capture, with its ONNX form beside its torch form, which is the reference. Each group of 32 inputs of
an output has a scale and a zero point of its own; onnxruntime's CPU kernels read the packed weights as they are, and
compute in float32. Its `accuracy_level` 4, which rounds activations to int8 too, was no faster on a small network and
0.92 of the time on a full-width one, at a hundred times the distance from the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dexport.models.component import Component
from gen3dexport.quantization import int4_linear as plain
from gen3dexport.quantization.int4_linear import GROUP, widened
from gen3dexport.quantization.quantize import pick, replace_linears


@torch.library.custom_op("gen3dexport::int4_linear", mutates_args=())
def int4_linear(x: Tensor, packed: Tensor, scale: Tensor, zero: Tensor, bias: Tensor | None) -> Tensor:
    """x [..., K] float32 times a weight [N, K] in `packed` [N, K/32, 16] uint8 (the first of a pair in the low half),
    `scale` [N, K/32] and `zero` [N, K/64 rounded up] uint8, likewise packed; plus bias [N]."""
    return F.linear(x, widened(packed, scale, zero), bias)


@int4_linear.register_fake
def _(x: Tensor, packed: Tensor, scale: Tensor, zero: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty((*x.shape[:-1], packed.shape[0]))


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """The operator's ONNX form, as `torch.onnx.export` takes it."""
    from onnxscript import opset18 as op
    from onnxscript.values import Op, Opset

    product = Op(Opset("com.microsoft", 1), "MatMulNBits", _schema())

    def in_onnx(x: Any, packed: Any, scale: Any, zero: Any, bias: Any) -> Any:
        outputs, groups, _ = packed.shape
        y = product(x, packed, scale, zero, K=groups * GROUP, N=outputs, bits=4, block_size=GROUP)
        return y if bias is None else op.Add(y, bias)

    return {torch.ops.gen3dexport.int4_linear.default: in_onnx}


def _schema() -> Any:
    """MatMulNBits as far as it is used here: onnxruntime contributes it, and ONNX does not know it."""
    from onnx.defs import OpSchema

    real, byte = ("T1", ["tensor(float)"], "activations, scales"), ("T2", ["tensor(uint8)"], "packed integers")
    inputs = [OpSchema.FormalParameter(name, kind) for name, kind in zip("ABsz", ("T1", "T2", "T1", "T2"), strict=True)]
    names = ("K", "N", "bits", "block_size")
    attributes = [OpSchema.Attribute(name, OpSchema.AttrType.INT, required=True) for name in names]
    output = OpSchema.FormalParameter("Y", "T1")
    return OpSchema(
        "MatMulNBits", "com.microsoft", 1, inputs=inputs, outputs=[output], type_constraints=[real, byte],
        attributes=attributes,
    )  # fmt: skip


class Int4Linear(plain.Int4Linear):
    """A linear layer with its weight in int4 per group of inputs, scales in float32, as onnxruntime takes them."""

    scales = torch.float32

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = torch.ops.gen3dexport.int4_linear(x.float(), self.packed, self.scale, self.zero, self.bias)
        return y.to(x.dtype)


def quantize_linears(component: Component, min_features: int, layers: Sequence[str] | None = None) -> Component:
    """`component` with its wide linears (those of the blocks, if it has any) as `Int4Linear`, in place.

    Raises:
        UsageError: when there is none, with inputs in groups of 32.
    """
    replace_linears(component, pick(component, min_features, layers, GROUP), Int4Linear)
    return component
