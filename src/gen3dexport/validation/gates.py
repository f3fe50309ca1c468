"""Quantized programs against their own unquantized ones, timed in turn so that noise meets both. No torch."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from statistics import median

import numpy as np

from gen3dexport import backends
from gen3dexport.bundle.manifest import BASELINE
from gen3dexport.documents.target import Measure
from gen3dexport.errors import MissingError
from gen3dexport.reports.records import MeasuredSlowdown, Unmeasured
from gen3dexport.runtime.pipeline import LoadedBundle, to_numpy
from gen3dexport.validation.foreign import foreign


def time_against_unquantized(
    loaded: LoadedBundle, name: str, inputs: Mapping[str, np.ndarray], measure: Measure
) -> MeasuredSlowdown | Unmeasured:
    """The slowdown of a component's program (0.1: a tenth slower than unquantized, negative: faster), or the reason why
    it could not be measured."""
    unquantized = loaded.manifest.unquantized[name]
    if not loaded.manifest.has_baseline(unquantized):
        reason = "the bundle has no unquantized program, for its recipe sets no budgets.allow_slowdown"
        return Unmeasured(reason=reason)
    backend = backends.find(loaded.manifest.target["backend"])
    try:
        own = loaded.program(loaded.manifest.component(name))
        loaded.check(*(f"{BASELINE}/{file}" for file in unquantized.program.files))
        other = backend.load(loaded.folder / BASELINE, unquantized.program)
    except MissingError as error:
        return Unmeasured(reason=str(error))
    stand_in = backends.stand_in(own) or foreign(loaded.manifest.target, platform.machine())
    if stand_in is not None:
        return Unmeasured(reason=stand_in)

    def caller(program: backends.Program) -> Callable[[], object]:
        arrays = {key: program.xp.asarray(value) for key, value in inputs.items()}
        return lambda: to_numpy(program(arrays))

    return time_in_turn(caller(own), caller(other), measure)


def time_in_turn(own: Callable[[], object], other: Callable[[], object], measure: Measure) -> MeasuredSlowdown:
    """Times of both calls, taken in turn, and the median over the turns of (own / other) - 1."""
    for _ in range(measure.warmup):
        own(), other()
    pairs = []
    for turn in range(measure.runs):
        first, second = (own, other) if turn % 2 else (other, own)
        times = _seconds(first), _seconds(second)
        pairs.append(times if turn % 2 else times[::-1])
    own_ms, other_ms = (1e3 * median(times) for times in zip(*pairs, strict=True))
    return MeasuredSlowdown(
        slowdown=median(mine / theirs for mine, theirs in pairs) - 1,
        p50_ms=own_ms,
        unquantized_p50_ms=other_ms,
        runs=measure.runs,
        threads=measure.threads,
    )


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
