"""Quantized programs against their own unquantized ones, timed in turn so that noise meets both. No torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import TYPE_CHECKING, Any

from gen3dexport import backends
from gen3dexport.bundle import BASELINE, Unquantized
from gen3dexport.bundle.program import ProgramRecord
from gen3dexport.documents.target import Measure
from gen3dexport.errors import MissingError

if TYPE_CHECKING:  # reports read this module, and are read without NumPy
    import numpy as np

    from gen3dexport.runtime.pipeline import LoadedBundle

Facts = dict[str, Any]


def time_against_unquantized(
    loaded: LoadedBundle, name: str, inputs: Mapping[str, np.ndarray], measure: Measure
) -> Facts:
    """The slowdown of a component's program (0.1: a tenth slower than unquantized, negative: faster), or the reason why
    it could not be measured."""
    from gen3dexport.runtime.pipeline import to_numpy

    unquantized = loaded.manifest.unquantized[name]
    if not loaded.manifest.has_baseline(unquantized):
        reason = "the bundle has no unquantized program, for its recipe sets no budgets.allow_slowdown"
        return {"kind": "unmeasured", "reason": reason}
    backend = backends.find(loaded.manifest.target["backend"])
    try:
        own = loaded.program(loaded.manifest.component(name))
        other = backend.load(loaded.folder / BASELINE, unquantized.program)
    except MissingError as error:
        return {"kind": "unmeasured", "reason": str(error)}
    stand_in = backends.stand_in(own)
    if stand_in is not None:
        return {"kind": "unmeasured", "reason": stand_in}

    def caller(program: backends.Program) -> Callable[[], object]:
        arrays = {key: program.xp.asarray(value) for key, value in inputs.items()}
        return lambda: to_numpy(program(arrays))

    return time_in_turn(caller(own), caller(other), measure)


def time_in_turn(own: Callable[[], object], other: Callable[[], object], measure: Measure) -> Facts:
    """Times of both calls, taken in turn, and the median over the turns of (own / other) - 1."""
    for _ in range(measure.warmup):
        own(), other()
    pairs = []
    for turn in range(measure.runs):
        first, second = (own, other) if turn % 2 else (other, own)
        times = _seconds(first), _seconds(second)
        pairs.append(times if turn % 2 else times[::-1])
    own_ms, other_ms = (1e3 * median(times) for times in zip(*pairs, strict=True))
    return {
        "kind": "measured",
        "slowdown": median(mine / theirs for mine, theirs in pairs) - 1,
        "p50_ms": own_ms,
        "unquantized_p50_ms": other_ms,
        "runs": measure.runs,
        "threads": measure.threads,
    }


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def against_unquantized(program: ProgramRecord, size: int, unquantized: Unquantized, measured: Facts) -> Facts:
    """What a report says of a quantized program beside its unquantized one: bytes, their ratio, and the slowdown as
    measured, or as each cost model that knows both estimates it."""
    latency = measured
    if measured["kind"] == "unmeasured":
        own, other = (
            {e.by: e.value for e in record.estimates.get("latency_ms", ())} for record in (program, unquantized.program)
        )
        estimates = [{"value": own[by] / other[by] - 1, "by": by} for by in own if other.get(by)]
        latency = {"kind": "estimated", "estimates": estimates} if estimates else measured
    scheme, total = unquantized.program.scheme, unquantized.bytes
    return {"scheme": scheme, "bytes": total, "size_ratio": size / total, "slowdown": latency}


def worst_size_ratio(components: list[Facts]) -> tuple[float, str]:
    """The largest ratio of bytes to unquantized bytes, and whose it is."""
    found = max((c for c in components if c["unquantized"]), key=lambda c: float(c["unquantized"]["size_ratio"]))
    return float(found["unquantized"]["size_ratio"]), str(found["name"])


def worst_slowdown(components: list[Facts]) -> tuple[float | None, str, str | None, str]:
    """(slowdown, kind, cost model, whose it is or why it is unmeasured) of the slowest program: unmeasured when one of
    them is, else estimated when one of them is."""
    found: list[tuple[float, str, str | None, str]] = []
    for component in (c for c in components if c["unquantized"]):
        latency = component["unquantized"]["slowdown"]
        match latency["kind"]:
            case "measured":
                found.append((float(latency["slowdown"]), "measured", None, component["name"]))
            case "estimated":
                found += [(float(e["value"]), "estimated", e["by"], component["name"]) for e in latency["estimates"]]
            case _:
                return None, "unmeasured", None, f"{component['name']}: {latency['reason']}"
    worst = max(found, key=lambda f: f[0])
    models = [by for _, kind, by, _ in found if kind == "estimated"]
    return (worst[0], "estimated", worst[2] or models[0], worst[3]) if models else worst
