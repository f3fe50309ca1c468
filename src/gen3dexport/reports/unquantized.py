"""Quantized programs beside their own unquantized ones: bytes, and times as measured or estimated. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from gen3dexport.bundle.manifest import Unquantized
from gen3dexport.bundle.program import Estimate, ProgramRecord
from gen3dexport.reports.records import (
    BesideUnquantized,
    Estimated,
    Measured,
    MeasuredSlowdown,
    ProgramReport,
    Slowdown,
    Unmeasured,
    Value,
)


def against_unquantized(
    program: ProgramRecord, size: int, unquantized: Unquantized, measured: Slowdown
) -> BesideUnquantized:
    """What a report says of a quantized program beside its unquantized one: bytes, their ratio, and the slowdown as
    measured, or as each cost model that knows both estimates it."""
    slowdown = measured
    if isinstance(measured, Unmeasured):
        own, other = (
            {e.by: e.value for e in record.estimates.get("latency_ms", ())} for record in (program, unquantized.program)
        )
        estimates = tuple(Estimate(own[by] / other[by] - 1, by) for by in own if other.get(by))
        slowdown = Estimated(estimates=estimates) if estimates else measured
    return BesideUnquantized(
        scheme=unquantized.program.scheme,
        bytes=unquantized.bytes,
        size_ratio=size / unquantized.bytes,
        slowdown=slowdown,
    )


def worst_size_ratio(components: Sequence[ProgramReport]) -> tuple[Measured, str]:
    """The largest ratio of bytes to unquantized bytes, and whose it is."""
    found = [(c.unquantized.size_ratio, c.name) for c in components if c.unquantized is not None]
    ratio, name = max(found, key=lambda f: f[0])
    return Measured(value=ratio), name


def worst_slowdown(components: Sequence[ProgramReport]) -> tuple[Value, str]:
    """The slowdown of the slowest program, and whose it is: unmeasured when one of them is, else estimated when one of
    them is."""
    found: list[tuple[float, str | None, str]] = []  # slowdown, cost model, program
    for component in components:
        if component.unquantized is None:
            continue
        match component.unquantized.slowdown:
            case MeasuredSlowdown() as measured:
                found.append((measured.slowdown, None, component.name))
            case Estimated() as estimated:
                found += [(e.value, e.by, component.name) for e in estimated.estimates]
            case Unmeasured() as unmeasured:
                return Unmeasured(reason=f"{component.name}: {unmeasured.reason}"), component.name
    value, by, name = max(found, key=lambda f: f[0])
    models = [model for _, model, _ in found if model is not None]
    if not models:
        return Measured(value=value), name
    return Estimated(estimates=(Estimate(value, by or models[0]),)), name
