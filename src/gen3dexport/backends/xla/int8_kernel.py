"""A linear layer in int8 as one Pallas kernel for TPU: what comes before, the rounding, the product, what comes after.

XLA gives the row maxima, the rounding and the product a pass over memory each, and a pass costs what int8 wins on the
product. Here rows are normed, modulated and rounded once, in VMEM, while the weight streams in, and what follows the
product (bias, activation, gate, residual) is done before the result leaves the chip. Imports JAX.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from gen3dexport.backends.xla.rows import (
    LANES,
    VMEM,
    Layer,
    RowOperation,
    Weight,
    apply,
    block_of,
    index_of,
    one_row,
    rounded,
    row_of,
)

NAME = "int8_linear"
_TILE = 32  # rows of an int8 tile
_HELD = 16 * 2**20  # bytes of rounded rows that stay in VMEM


def fits(inputs: int, outputs: int) -> bool:
    """Whether the kernel takes a weight [outputs, inputs]."""
    return inputs % LANES == 0 and outputs % LANES == 0


def int8_linear(
    x: Array,
    weight: Weight,
    scale: Weight,
    before: Sequence[RowOperation] = (),
    read: Sequence[Weight] = (),
    after: Sequence[RowOperation] = (),
    beside: Sequence[Weight] = (),
    dtype: Any = None,
) -> Array:
    """after(int8(before(x)) @ weight.T * scale) of x [R, K], weight [N, K] int8 and scale [N] float32, as [R, N].

    Args:
        before, read: steps on rows [., K], and their arrays.
        after, beside: steps on rows [., N], and their arrays.
        dtype: of the result; None for that of x.
    """
    (rows, inputs), outputs = x.shape, weight.shape[0]
    dtype = x.dtype if dtype is None else jnp.dtype(dtype)
    tall = block_of(rows, (256, 128, 64, _TILE))
    wide = next(width for width in (512, 256, LANES) if outputs % width == 0)
    padded = -(-rows // tall) * tall
    held = next(n for n in range(padded // tall, 0, -1) if padded // tall % n == 0 and n * tall * inputs <= _HELD)
    grid = (padded // tall // held, outputs // wide, held)  # held rows; a strip of the weight; a block of rows

    def operand(value: Weight, width: int, rows_spec: pl.BlockSpec, row_index: Any) -> tuple[Array, pl.BlockSpec, bool]:
        """The array that the kernel takes, how, and whether one row of it belongs to all rows."""
        if isinstance(value, Layer) or value.size == value.shape[-1]:
            row = one_row(value, width)
            return row, pl.BlockSpec((len(row), rows_spec.block_shape[1]), row_index), True
        return jnp.pad(value.reshape(rows, width), ((0, padded - rows), (0, 0))), rows_spec, False

    # Rows are read at the first strip; after it nothing new is fetched.
    once = pl.BlockSpec((tall, inputs), lambda c, j, i, own: (c * held + jnp.where(j == 0, i, held - 1), 0))
    tile = pl.BlockSpec((tall, wide), lambda c, j, i, own: (c * held + i, j))
    first = [operand(value, inputs, once, lambda c, j, i, own: (0, 0)) for value in read]
    second = [operand(value, outputs, tile, lambda c, j, i, own: (0, j)) for value in (scale, *beside)]
    stack = weight.stack if isinstance(weight, Layer) else weight[None]
    strip = pl.BlockSpec((None, wide, inputs), lambda c, j, i, own: (own[0] if len(stack) > 1 else 0, j, 0))
    x = jnp.pad(x, ((0, padded - rows), (0, 0)))
    moved = sum(a.size * a.dtype.itemsize for a, _, shared in (*first, *second) if not shared)
    moved += x.size * x.dtype.itemsize + grid[0] * inputs * outputs + rows * outputs * dtype.itemsize
    out = pl.pallas_call(
        _kernel(before, after, [shared for *_, shared in first], [shared for *_, shared in second], tall),
        out_shape=jax.ShapeDtypeStruct((padded, outputs), dtype),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=grid,
            in_specs=[once, strip, *(spec for _, spec, _ in (*first, *second))],
            out_specs=tile,
            scratch_shapes=[pltpu.VMEM((held * tall, inputs), jnp.int8), pltpu.VMEM((held * tall, 1), jnp.float32)],
        ),
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary", "arbitrary"), vmem_limit_bytes=VMEM
        ),
        cost_estimate=pl.CostEstimate(
            flops=2 * rows * inputs * outputs,
            transcendentals=rows * outputs * sum(step.operation.startswith("gelu") for step in after),
            bytes_accessed=moved,
        ),
        name=NAME,
    )(index_of((weight, scale, *read, *beside)), x, stack, *(a for a, *_ in (*first, *second)))
    return out[:rows]


def _kernel(
    before: Sequence[RowOperation],
    after: Sequence[RowOperation],
    first: Sequence[bool],
    second: Sequence[bool],
    tall: int,
) -> Callable[..., None]:
    """`first` and `second`: for each array of `before` (scale and those of `after`), whether one row is all."""

    def kernel(own: Any, x: Any, weight: Any, *refs: Any) -> None:
        read, written = refs[: len(first)], refs[len(first) : -3]
        out, taken, scales = refs[-3:]
        here = pl.program_id(2) * tall

        def _round() -> None:
            def tile(index: Any, carry: None) -> None:
                some = pl.ds(pl.multiple_of(index * _TILE, _TILE), _TILE)
                held = pl.ds(pl.multiple_of(here + index * _TILE, _TILE), _TILE)
                arrays = [row_of(a, own) if shared else a[some, :] for a, shared in zip(read, first, strict=True)]
                value = apply(before, x[some, :].astype(jnp.float32), arrays)
                taken[held, :], scales[held, :] = rounded(value)

            lax.fori_loop(0, tall // _TILE, tile, None)

        pl.when(pl.program_id(1) == 0)(_round)

        rows = pl.ds(pl.multiple_of(here, _TILE), tall)
        sums = lax.dot_general(
            taken[rows, :],
            weight[...],
            (((1,), (1,)), ((), ())),
            precision=lax.Precision.DEFAULT,  # exact; a higher one is an error in the kernel's compiler
            preferred_element_type=jnp.int32,
        )
        scale, *beside = [row_of(a, own) if shared else a[...] for a, shared in zip(written, second, strict=True)]
        out[...] = apply(after, sums.astype(jnp.float32) * scales[rows, :] * scale, beside).astype(out.dtype)

    return kernel
