"""Operators that would lower without a word and be wrong (or ruinous) on a TPU: refused by name, with the remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from gen3dexport.errors import ExportError

_INT32 = 2**31
_HASH_FACTOR = 2**20  # index arithmetic multiplies by grid sizes; hashes multiply by large primes
_aten = torch.ops.aten


def refuse(program: ExportedProgram, name: str) -> None:
    """Look at every operator of `program`.

    Raises:
        ExportError: with every operator that this backend refuses, why, and what to use instead.
    """
    problems = [
        f"{name}: {node.target} ({node.name}): {reason}"
        for node in program.graph.nodes
        if node.op == "call_function" and (reason := _reason(node, program))
    ]
    if problems:
        raise ExportError("\n".join(dict.fromkeys(problems)))


def _reason(node: fx.Node, program: ExportedProgram) -> str | None:
    packet = getattr(node.target, "overloadpacket", None)
    check = _CHECKS.get(packet)
    value = node.meta.get("val")
    if isinstance(value, Tensor) and value.dtype is torch.float64:
        return "computes in float64, which a TPU does not have; cast to float32 in the network"
    return check(node, program) if check else None


def _grid_sampler(node: fx.Node, program: ExportedProgram) -> str:
    return "sampling a grid lowers to scattered reads of single elements; index the flattened grid by corner instead"


def _transposed_convolution(node: fx.Node, program: ExportedProgram) -> str | None:
    arguments = _arguments(node)
    transposed = arguments.get("transposed", True)
    padding = arguments.get("output_padding", 0)
    padded = any(padding) if isinstance(padding, list | tuple) else bool(padding)
    if transposed and padded and arguments.get("groups", 1) != 1:
        return "a transposed convolution with output_padding and groups comes out wrong; use groups=1 or interpolate \
and convolve"
    return None


def _int64_bits(node: fx.Node, program: ExportedProgram) -> str | None:
    if _is_int64(node):
        return "int64 bit arithmetic (a hash?) becomes int32 on a TPU and wraps; compute it on the host"
    return None


def _int64_product(node: fx.Node, program: ExportedProgram) -> str | None:
    if _is_int64(node) and max(_magnitude(a, program) for a in node.args) >= _HASH_FACTOR:
        return "an int64 product with a factor of 2^20 or more becomes int32 on a TPU and may wrap; compute it on the \
host"
    return None


def _int64_constant(node: fx.Node, program: ExportedProgram) -> str | None:
    if _is_int64(node) and max((_magnitude(a, program) for a in node.args), default=0) >= _INT32:
        return "a constant does not fit int32, which is what a TPU computes in; compute it on the host"
    return None


def _magnitude(argument: Any, program: ExportedProgram) -> float:
    if isinstance(argument, int | float) and not isinstance(argument, bool):
        return abs(argument)
    if isinstance(argument, fx.Node) and argument.op == "placeholder":
        signature = program.graph_signature
        key = signature.inputs_to_lifted_tensor_constants.get(argument.name) or signature.inputs_to_buffers.get(
            argument.name
        )
        value = program.constants.get(key, program.state_dict.get(key)) if key else None
        if isinstance(value, Tensor) and value.dtype is torch.int64 and value.numel():
            return float(value.abs().max())
    return 0


def _is_int64(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.dtype is torch.int64


def _arguments(node: fx.Node) -> dict[str, Any]:
    schema = node.target._schema  # type: ignore[union-attr]
    names = [a.name for a in schema.arguments]
    return dict(zip(names, node.args, strict=False)) | dict(node.kwargs)


_CHECKS: dict[Any, Callable[[fx.Node, ExportedProgram], str | None]] = {
    _aten.grid_sampler: _grid_sampler,
    _aten.grid_sampler_2d: _grid_sampler,
    _aten.grid_sampler_3d: _grid_sampler,
    _aten.convolution: _transposed_convolution,
    _aten.conv_transpose1d: _transposed_convolution,
    _aten.conv_transpose2d: _transposed_convolution,
    _aten.conv_transpose3d: _transposed_convolution,
    _aten.bitwise_xor: _int64_bits,
    _aten.bitwise_left_shift: _int64_bits,
    _aten.bitwise_right_shift: _int64_bits,
    _aten.__lshift__: _int64_bits,
    _aten.__rshift__: _int64_bits,
    _aten.__xor__: _int64_bits,
    _aten.mul: _int64_product,
    _aten.add: _int64_constant,
    _aten.sub: _int64_constant,
    _aten.remainder: _int64_constant,
    _aten.full: _int64_constant,
}
