"""Judging: what was found against the budgets that are set, one verdict each. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gen3dexport.documents.budgets import Budgets
from gen3dexport.reports.records import (
    Against,
    Estimated,
    Judged,
    Latency,
    Measured,
    MeasuredMemory,
    MeasuredTimes,
    PeakMemory,
    Pipeline,
    ProgramReport,
    Report,
    Unmeasured,
    Value,
    Verdict,
    worst,
)
from gen3dexport.reports.unquantized import worst_size_ratio, worst_slowdown

ACCURACY, COST, UNMEASURED = 5, 6, 8
"""Exit codes of the command line: quality was lost, a bundle is too slow or too large, a budget could not be judged."""


@dataclass(frozen=True)
class Asked:
    """One budget that is set, and what was found.

    Attributes:
        name: of the budget; of a score `KIND.SCORE`; limit: in `unit`; floor: else it is a ceiling.
        whose: the program that the number is of, where it is of one.
    """

    name: str
    limit: float
    found: Value
    exit_code: int
    unit: str = ""
    floor: bool = False
    whose: str | None = None


def judge(
    budgets: Budgets, components: Sequence[ProgramReport], pipeline: Pipeline, size_bytes: int
) -> tuple[Judged, ...]:
    """Every budget that is set with its verdict, quality first."""
    asked = (*_accuracy(budgets, components, pipeline), *_cost(budgets, components, pipeline, size_bytes))
    return tuple(verdict(a, budgets.accept_estimates) for a in asked)


def verdict(asked: Asked, accept_estimates: bool) -> Judged:
    """The verdict on one budget: an estimate is judged only where estimates are accepted."""
    value, by, reason = None, None, asked.whose
    result: Verdict = "unmeasured"
    match asked.found:
        case Unmeasured() as found:
            reason = found.reason
        case Measured() as found:
            value = found.value
        case Estimated() as found:
            value, by = found.worst.value, found.worst.by
    if value is not None:
        result = "pass" if (value >= asked.limit if asked.floor else value <= asked.limit) else "fail"
        reason = asked.whose if result == "fail" else None
    if by is not None and not accept_estimates:
        result, reason = "unmeasured", "only estimated, and the recipe does not accept estimates"
    return Judged(
        name=asked.name,
        limit=asked.limit,
        value=value,
        unit=asked.unit,
        basis=asked.found.basis,
        by=by,
        floor=asked.floor,
        verdict=result,
        reason=reason,
        exit_code=asked.exit_code,
    )


def overall(budgets: Sequence[Judged]) -> Verdict:
    """The verdict on all: the worst there is."""
    verdicts = {b.verdict for b in budgets}
    return "fail" if "fail" in verdicts else "unmeasured" if "unmeasured" in verdicts else "pass"


def exit_code(report: Report) -> int:
    """0, or the code of the first budget that is missed (5, 6), or 8 when one could not be measured and had to be."""
    missed = next((b.exit_code for b in report.budgets if b.verdict == "fail"), 0)
    return missed or (UNMEASURED if report.verdict == "unmeasured" and not report.accept_unmeasured else 0)


def _accuracy(budgets: Budgets, components: Sequence[ProgramReport], pipeline: Pipeline) -> list[Asked]:
    asked = []
    missing = next((c.missing for c in components if c.role == "component" and c.missing), None)
    limits: dict[Against, float | None] = {"quantized": budgets.relative_l2, "fp32": budgets.relative_l2_fp32}
    for reference, limit in limits.items():
        if limit is not None:
            name = "relative_l2" if reference == "quantized" else "relative_l2_fp32"
            error = worst(e for c in components if (e := c.errors.worst(reference)) is not None)
            found = (
                Unmeasured(reason=missing or "nothing was compared")
                if missing or error is None
                else Measured(value=error)
            )
            asked.append(Asked(name, limit, found, ACCURACY))
    for kind, scores in budgets.scores.items():
        asked += [_score(kind, name, wanted, pipeline) for name, wanted in scores.items()]
    return asked


def _score(kind: str, name: str, limit: float, pipeline: Pipeline) -> Asked:
    """The mean of a score over the golden prompts."""
    from gen3dexport.assets import kinds  # imports NumPy, and a report is read without it

    scores = [s for q in pipeline.quality if (s := q.score(kind, name)) is not None]
    if not scores:
        found = Unmeasured(reason=pipeline.missing or f"the assets have no score {kind}.{name}")
        scale = next((s for s in kinds.of(kind).SCALES if s.name == name), None)
        floor = scale is not None and scale.better == "higher"
        return Asked(f"{kind}.{name}", limit, found, ACCURACY, floor=floor)
    mean = Measured(value=sum(s.value for s in scores) / len(scores))
    return Asked(f"{kind}.{name}", limit, mean, ACCURACY, scores[0].unit, floor=scores[0].better == "higher")


def _cost(budgets: Budgets, components: Sequence[ProgramReport], pipeline: Pipeline, size_bytes: int) -> list[Asked]:
    networks = [c for c in components if c.role == "component"]
    compared = any(c.unquantized for c in components)
    asked = []
    if budgets.latency_ms is not None:
        asked.append(Asked("latency_ms", budgets.latency_ms, median(pipeline.latency), COST, "ms"))
    if budgets.peak_memory_mb is not None:
        asked.append(Asked("peak_memory_mb", budgets.peak_memory_mb, largest_peak(networks), COST, "MB"))
    if budgets.size_mb is not None:
        asked.append(Asked("size_mb", budgets.size_mb, Measured(value=size_bytes / 1e6), COST, "MB"))
    if budgets.size_ratio is not None and compared:
        ratio, whose = worst_size_ratio(networks)
        asked.append(Asked("size_ratio", budgets.size_ratio, ratio, COST, whose=whose))
    if budgets.allow_slowdown is not None and compared:
        slowdown, whose = worst_slowdown(networks)
        asked.append(Asked("allow_slowdown", budgets.allow_slowdown, slowdown, COST, whose=whose))
    return asked


def median(latency: Latency) -> Value:
    """The median in milliseconds, where times were measured."""
    return Measured(value=latency.p50_ms) if isinstance(latency, MeasuredTimes) else latency


def number_of(value: Value) -> float | None:
    """The number itself, the worst of several estimates; None when it is unmeasured."""
    match value:
        case Measured():
            return value.value
        case Estimated():
            return value.worst.value
    return None


def peak_mb(memory: PeakMemory) -> Measured | Unmeasured:
    """The peak in MB."""
    return Measured(value=memory.bytes / 1e6) if isinstance(memory, MeasuredMemory) else memory


def largest_peak(networks: Sequence[ProgramReport]) -> Measured | Unmeasured:
    """The peak memory of the largest program, in MB; unmeasured when that of one is."""
    peaks = [peak_mb(c.peak_memory) for c in networks]
    unmeasured = next((p for p in peaks if isinstance(p, Unmeasured)), None)
    return unmeasured or Measured(value=max(p.value for p in peaks if isinstance(p, Measured)))
