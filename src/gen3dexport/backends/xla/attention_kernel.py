"""Softmax attention as one Pallas kernel for TPU that reads tokens as the projections write them. Imports JAX.

The flash kernel that comes with JAX wants [B, H, T, d]: transposing to and fro, and norming queries and keys in rows 64
wide (half the lanes of a vector register), costs more than the attention. Here a block is 128 columns of [B, T, H*d],
as many heads as fit side by side. Queries are masked to one head at a time, so that a product over 128 columns is that
head's; it costs the matrix unit what 64 would. Keys come in one block, or where they are many, in several with a
running softmax.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from gen3dexport.backends.xla.rows import LANES, VMEM, Weight, block_of, index_of, one_row, row_of

NAME = "attention"
_QUERIES = (512, 256, 128, 64, 32, 16)
_SCORES = 8 * 2**20  # bytes of one head's scores for a block of queries and of keys
NEVER = -1e30  # for a score that must not count: finite, so that a block of such keys alone makes no NaN
_TINY = 1e-24  # keeps the length of a zero query from a division by zero: 1e-12 squared


@dataclass(frozen=True)
class Heads:
    """Where heads lie in an array [B, T, N]: `count` of them, `width` wide, from column `start` on."""

    count: int
    width: int
    start: int = 0

    @property
    def fit(self) -> bool:
        """Whether whole heads fill blocks of 128 columns."""
        return LANES % self.width == 0 and self.count * self.width % LANES == 0 and self.start % LANES == 0


def attention(
    q: Array,
    k: Array,
    v: Array,
    heads: Sequence[Heads],
    scale: float,
    q_gamma: tuple[Weight, float] | None = None,
    k_gamma: tuple[Weight, float] | None = None,
    bias: Array | None = None,
) -> Array:
    """Attention of the heads in q [B, T, *] over those in k and v [B, L, *], as [B, T, H*d].

    Args:
        q, k, v: may be one array.
        heads: where in q, in k and in v; of the same count and width, and they `fit`.
        scale: of the scores.
        q_gamma, k_gamma: queries (keys) are divided by their length and multiplied by these H*d numbers and by this
            one; None: as they are.
        bias: added to the scores of all heads, [B, T, L]; 1 for B and T: the same for every batch or query.
    """
    (batch, tokens, _), keys = q.shape, k.shape[1]
    columns, width = heads[0].count * heads[0].width, heads[0].width
    tall = block_of(tokens, _QUERIES)
    # As few blocks of keys as their scores allow; a multiple of a tile each.
    blocks = -(-keys * tall * 4 // _SCORES)
    long = -(-keys // (blocks * LANES)) * LANES
    every = blocks * long
    arrays = [_pad(q, -(-tokens // tall) * tall), _pad(k, every), _pad(v, every)]
    starts = [where.start // LANES for where in heads]
    specs = [
        pl.BlockSpec((None, tall, LANES), lambda b, h, i, j, own: (b, i, starts[0] + h)),
        pl.BlockSpec((None, long, LANES), lambda b, h, i, j, own: (b, j, starts[1] + h)),
        pl.BlockSpec((None, long, LANES), lambda b, h, i, j, own: (b, j, starts[2] + h)),
    ]
    gammas = [gamma for gamma in (q_gamma, k_gamma) if gamma is not None]
    for weight, _ in gammas:
        row = one_row(weight, columns)
        arrays.append(row)
        specs.append(pl.BlockSpec((len(row), LANES), lambda b, h, i, j, own: (0, h)))
    biased = bias is not None or every != keys
    if biased:
        given = jnp.zeros((1, 1, keys), jnp.float32) if bias is None else bias
        given = jnp.pad(given, ((0, 0), (0, 0), (0, every - keys)), constant_values=NEVER)
        each, own_row = given.shape[0] > 1, given.shape[1] > 1
        arrays.append(_pad(given, arrays[0].shape[1]) if own_row else given)
        specs.append(
            pl.BlockSpec(
                (None, tall if own_row else 1, long),
                lambda b, h, i, j, own: (b if each else 0, i if own_row else 0, j),
            )
        )
    factors = tuple(None if gamma is None else gamma[1] for gamma in (q_gamma, k_gamma))
    packed = LANES // width
    products = batch * heads[0].count * tokens * keys
    out = pl.pallas_call(
        functools.partial(_kernel, width=width, scale=scale, factors=factors, biased=biased, blocks=blocks),
        out_shape=jax.ShapeDtypeStruct((*arrays[0].shape[:2], columns), q.dtype),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=(batch, columns // LANES, arrays[0].shape[1] // tall, blocks),
            in_specs=specs,
            out_specs=pl.BlockSpec((None, tall, LANES), lambda b, h, i, j, own: (b, i, h)),
            scratch_shapes=[
                pltpu.VMEM((16 if k_gamma is None else every, LANES), k.dtype),
                *(pltpu.VMEM((packed, tall, 1), jnp.float32) for _ in range(2)),
                pltpu.VMEM((tall, LANES), jnp.float32),
            ],
        ),
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "arbitrary", "arbitrary"), vmem_limit_bytes=VMEM
        ),
        cost_estimate=pl.CostEstimate(
            flops=4 * products * width,
            transcendentals=products,
            bytes_accessed=2 * batch * (tokens + keys) * columns * q.dtype.itemsize,
        ),
        name=NAME,
    )(index_of([weight for weight, _ in gammas]), *arrays)
    return out[:, :tokens]


def _kernel(
    own: Any, *refs: Any, width: int, scale: float, factors: Sequence[float | None], biased: bool, blocks: int
) -> None:
    q, k, v, *rest = refs
    gammas = [None if factor is None else row_of(rest.pop(0), own) * factor for factor in factors]
    bias = jnp.maximum(rest.pop(0)[...].astype(jnp.float32), NEVER) / scale if biased else None
    out, keys, largest, total, result = rest
    block, long = pl.program_id(3), k.shape[0]
    read = k[...]
    if gammas[1] is not None:
        here = pl.ds(pl.multiple_of(block * long, LANES), long)

        def _norm_keys() -> None:
            keys[here, :] = _norm(k[...].astype(jnp.float32), gammas[1], width).astype(k.dtype)

        pl.when(pl.program_id(2) == 0)(_norm_keys)

        read = keys[here, :]
    queries = q[...].astype(jnp.float32)
    if gammas[0] is not None:
        queries = _norm(queries, gammas[0], width)
    # Products of bfloat16 are exact; asking for more precision there is an error in the kernel's compiler.
    precision = lax.Precision.DEFAULT if q.dtype == jnp.bfloat16 else lax.Precision.HIGHEST
    product = functools.partial(lax.dot_general, precision=precision, preferred_element_type=jnp.float32)
    rate = scale * math.log2(math.e)
    head = _heads(queries.shape, width)

    if blocks > 1:

        def _start() -> None:
            largest[...] = jnp.full(largest.shape, -jnp.inf)
            total[...] = jnp.zeros(total.shape)
            result[...] = jnp.zeros(result.shape)

        pl.when(block == 0)(_start)

    after = jnp.zeros(queries.shape, jnp.float32)
    for index in range(LANES // width):
        mine = jnp.where(head == index, queries, 0.0).astype(q.dtype)
        scores = product(mine, read, (((1,), (1,)), ((), ())))
        scores = scores if bias is None else scores + bias
        most = jnp.max(scores, axis=-1, keepdims=True)
        if blocks > 1:
            most = jnp.maximum(most, largest[index])
        weights = jnp.exp2((scores - most) * rate)
        count = jnp.sum(weights, axis=-1, keepdims=True)
        part = product(weights.astype(v.dtype), v[...], (((1,), (0,)), ((), ())))
        if blocks > 1:
            kept = jnp.exp2((largest[index] - most) * rate)
            largest[index] = most
            count = total[index] * kept + count
            total[index] = count
            part = result[...] * kept + part
        after = jnp.where(head == index, part / count if blocks == 1 else part, after)
    if blocks == 1:
        out[...] = after.astype(out.dtype)
        return
    result[...] = after

    def _finish() -> None:
        whole = jnp.zeros(queries.shape, jnp.float32)
        for index in range(LANES // width):
            whole = jnp.where(head == index, result[...] / total[index], whole)
        out[...] = whole.astype(out.dtype)

    pl.when(block == blocks - 1)(_finish)


def _norm(x: Array, gamma: Array, width: int) -> Array:
    """Each head of x [R, 128] divided by its length, times gamma [1, 128]."""
    head = _heads(x.shape, width)
    factor = jnp.zeros(x.shape, jnp.float32)
    for index in range(LANES // width):
        square = jnp.sum(jnp.where(head == index, x * x, 0.0), axis=-1, keepdims=True)
        factor = jnp.where(head == index, lax.rsqrt(jnp.maximum(square, _TINY)), factor)
    return x * factor * gamma


def _heads(shape: tuple[int, ...], width: int) -> Array:
    """Which head each column of a block belongs to."""
    return lax.div(lax.broadcasted_iota(jnp.int32, shape, 1), jnp.int32(width))


def _pad(x: Array, rows: int) -> Array:
    return jnp.pad(x, ((0, 0), (0, rows - x.shape[1]), (0, 0)))
