"""Latency by a roofline: FLOPs and bytes counted from the program's own operators and shapes. Imports JAX.

Every operator that touches memory costs max(operations / peak, bytes / bandwidth); the sum is the estimate. Matrix
products and convolutions read their operands and write their result once; reductions, gathers, scatters, sorts,
concatenations and slices of computed values move their bytes; elementwise operators are taken as fused into their
neighbours and free, as is a change of dtype or layout of an operand (its source is read instead). Loop bodies count as
often as they run. What the model leaves out: launch overhead, on-chip reuse between operators, padding to tiles.

Matrix units take bfloat16: a float32 product costs 6 passes at precision `highest`, 3 at `high`, 1 by default
(Henry, Tang, Heinecke 2019, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision
Computations").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from gen3dexport.backends.xla.chips import Chip
from gen3dexport.errors import ExportError

_VIEWS = {"reshape", "transpose", "broadcast_in_dim", "convert_element_type", "squeeze", "expand_dims", "copy"}
_MOVES = {"gather", "scatter", "scatter-add", "scatter_add", "sort", "concatenate", "dynamic_update_slice", "cumsum"}
_SLICES = {"slice", "dynamic_slice"}


@dataclass(frozen=True)
class Cost:
    """What a program does in one call.

    Attributes:
        seconds: the roofline's latency.
        flops: operations of matrix products and convolutions (a multiply-add is two).
        bytes: moved between HBM and the chip.
    """

    seconds: float = 0.0
    flops: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.seconds + other.seconds, self.flops + other.flops, self.bytes + other.bytes)

    def __mul__(self, times: int) -> Cost:
        return Cost(self.seconds * times, self.flops * times, self.bytes * times)


def roofline(program: ClosedJaxpr, chip: Chip) -> Cost:
    """The cost of one call of `program` on `chip`.

    Raises:
        ExportError: for a loop or kernel whose cost is not in the program.
    """
    return _Counter(chip).jaxpr(program.jaxpr, {})


class _Counter:
    def __init__(self, chip: Chip) -> None:
        self.chip = chip

    def jaxpr(self, jaxpr: Jaxpr, sources: Mapping[Any, float]) -> Cost:
        """`sources`: bytes that reading an input variable really costs, where that is less than its size."""
        read: dict[Any, float] = dict(sources)

        def reading(atom: Any) -> float:
            size = _size(atom.aval)
            return 0.0 if isinstance(atom, Literal) else min(size, read.get(atom, size))

        total = Cost()
        stored = {*jaxpr.invars, *jaxpr.constvars}
        for eqn in jaxpr.eqns:
            if eqn.primitive.name in _VIEWS:
                read[eqn.outvars[0]] = reading(eqn.invars[0])
            if eqn.primitive.name == "dynamic_slice" and eqn.invars[0] in stored:
                continue  # one block's weight among all: whoever takes it reads it where it lies
            total += self.equation(eqn, reading)
        return total

    def equation(self, eqn: Any, reading: Callable[[Any], float]) -> Cost:
        name, params = eqn.primitive.name, eqn.params
        moved = sum(map(reading, eqn.invars)) + sum(_size(v.aval) for v in eqn.outvars)
        if name == "dot_general":
            return self.product(eqn, _dot_flops(eqn), moved)
        if name == "conv_general_dilated":
            return self.product(eqn, _conv_flops(eqn), moved)
        if name == "scan":
            inner = params["jaxpr"].jaxpr
            return self.jaxpr(inner, {}) * int(params["length"])
        if name == "while":
            raise ExportError("a loop whose trip count is not known cannot be estimated; use a fixed number of steps")
        if name == "cond":
            branches = [self.jaxpr(b.jaxpr, {}) for b in params["branches"]]
            return max(branches, key=lambda c: c.seconds)
        if name == "pallas_call":
            return self.kernel(eqn)
        if name.startswith(("reduce", "arg")) and name != "reduce_precision":
            return self.cost(0, sum(map(reading, eqn.invars)), self.chip.bf16)
        if name in _MOVES:
            return self.cost(0, 2 * sum(_size(v.aval) for v in eqn.outvars), self.chip.bf16)
        if name in _SLICES:
            return self.cost(0, sum(_size(v.aval) for v in eqn.outvars), self.chip.bf16)
        for inner in filter(None, map(_called, params.values())):
            known = {v: reading(a) for v, a in zip(inner.invars, eqn.invars, strict=False)}
            return self.jaxpr(inner, known)
        return Cost()  # elementwise

    def product(self, eqn: Any, flops: float, moved: float) -> Cost:
        dtypes = [v.aval.dtype for v in eqn.invars[:2]]
        if all(d == np.int8 for d in dtypes):
            return self.cost(flops, moved, self.chip.int8)
        passes = _passes(eqn.params.get("precision")) if any(d == np.float32 for d in dtypes) else 1
        return self.cost(flops, moved, self.chip.bf16 / passes)

    def kernel(self, eqn: Any) -> Cost:
        """What a Pallas kernel says of itself; one that multiplies an int8 weight does so at the rate of int8."""
        own = eqn.params["cost_estimate"]
        if own is None:
            raise ExportError("a Pallas kernel without a cost_estimate cannot be estimated; give it one")
        int8 = any(v.aval.dtype == np.int8 for v in eqn.invars)
        return self.cost(own.flops, own.bytes_accessed, self.chip.int8 if int8 else self.chip.bf16)

    def cost(self, flops: float, moved: float, peak: float) -> Cost:
        return Cost(max(flops / peak, moved / self.chip.bandwidth), flops, moved)


def _called(parameter: Any) -> Jaxpr | None:
    """The body that a call-like operator (jit, custom derivative, checkpoint) runs."""
    inner = parameter.jaxpr if isinstance(parameter, ClosedJaxpr) else parameter
    return inner if isinstance(inner, Jaxpr) else None


def _passes(precision: Any) -> int:
    names = {str(p).rpartition(".")[2].upper() for p in (precision if isinstance(precision, tuple) else (precision,))}
    return 6 if names & {"HIGHEST", "FLOAT32"} else 3 if names & {"HIGH", "TENSORFLOAT32"} else 1


def _dot_flops(eqn: Any) -> float:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    left = eqn.invars[0].aval.shape
    return float(2 * math.prod(eqn.outvars[0].aval.shape) * math.prod(left[d] for d in contracted))


def _conv_flops(eqn: Any) -> float:
    kernel = eqn.invars[1].aval.shape
    out_channels = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
    return float(2 * math.prod(eqn.outvars[0].aval.shape) * math.prod(kernel) / out_channels)


def _size(aval: Any) -> float:
    return float(math.prod(getattr(aval, "shape", ())) * getattr(getattr(aval, "dtype", None), "itemsize", 0))
