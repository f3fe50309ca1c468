"""Blocks of rows in a TPU's VMEM, and what is done to them there. Imports JAX."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl

from gen3dexport.quantization.int8_linear import LEVELS, TINY

LANES = 128  # columns of a vector register
VMEM = 100 * 2**20  # bytes that a kernel may take of the chip's 128 MiB

Operation = Literal["norm", "multiply", "add", "gelu_tanh", "gelu_erf"]


@dataclass(frozen=True)
class RowOperation:
    """One operation on rows in float32.

    Attributes:
        operation: `norm` is a layer norm without weights.
        constant: epsilon of `norm`; the number that is multiplied or added where the step takes no array.
        takes: whether an array belongs to it: one row [1, C] for all rows, or all rows [R, C].
    """

    operation: Operation
    constant: float = 0.0
    takes: bool = False


@dataclass(frozen=True)
class Layer:
    """A weight of one of the repeated blocks, as a kernel reads it: in place, where `array` would copy it first.

    Attributes:
        stack: the weights of all blocks, along a first axis.
        index: which block, an int32 scalar.
    """

    stack: Array
    index: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight."""
        return tuple(self.stack.shape[1:])

    def array(self) -> Array:
        """The weight, copied."""
        return lax.dynamic_index_in_dim(self.stack, self.index, keepdims=False)


Weight: TypeAlias = Array | Layer


def index_of(values: Sequence[Any]) -> Array:
    """The block that the layers among `values` belong to, as a kernel's first operand: int32 [1]."""
    index = next((value.index for value in values if isinstance(value, Layer)), 0)
    return jnp.asarray(index, jnp.int32).reshape(1)


def one_row(value: Weight, width: int) -> Array:
    """`value` as [n, width] float32: the rows of all blocks, of which a kernel takes its own (`row_of`), or one."""
    stack = value.stack if isinstance(value, Layer) else value
    return stack.astype(jnp.float32).reshape(-1, width)


def row_of(ref: Any, own: Any) -> Array:
    """The block's row [1, C] of what `one_row` gave."""
    return ref[...] if ref.shape[0] == 1 else ref[pl.ds(own[0], 1), :]


def apply(steps: Sequence[RowOperation], x: Array, arrays: Sequence[Array]) -> Array:
    """`steps` on x [R, C] float32; `arrays` in the order of the steps that take one."""
    remaining = iter(arrays)
    for step in steps:
        by = next(remaining).astype(jnp.float32) if step.takes else step.constant
        match step.operation:
            case "norm":
                x = x - jnp.mean(x, axis=-1, keepdims=True)
                x = x * lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + step.constant)
            case "multiply":
                x = x * by
            case "add":
                x = x + by
            case "gelu_tanh":
                x = jax.nn.gelu(x, approximate=True)
            case "gelu_erf":  # JAX's own takes erfc, which kernels do not have
                x = x * (0.5 * lax.erf(x * math.sqrt(0.5)) + 0.5)
    return x


def rounded(x: Array) -> tuple[Array, Array]:
    """x [..., C] in int8 and the scale [..., 1] float32 of each row, as `gen3dexport::int8_linear` rounds rows."""
    largest = jnp.maximum(jnp.abs(x).max(-1, keepdims=True).astype(jnp.float32), TINY)
    return jnp.round(x.astype(jnp.float32) * (LEVELS / largest)).astype(jnp.int8), largest * (1 / LEVELS)


def block_of(rows: int, sizes: Sequence[int]) -> int:
    """The largest of `sizes` that adds at most an eighth of padding to `rows`; else the smallest."""
    return next((size for size in sizes if -rows % size <= rows // 8), sizes[-1])
