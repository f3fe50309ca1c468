"""Compare: two bundles or reports side by side, with verdicts on what got worse. No torch.

Only like is judged: measured with measured on one device, estimated with estimated by one cost model (where estimates
are accepted). Everything else is shown, with the reason why it is not judged.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from gen3dexport.errors import UsageError
from gen3dexport.reports.comparison import Comparison, Group, Judgement, Row, Side
from gen3dexport.reports.judge import ACCURACY, COST, UNMEASURED, median, number_of, peak_mb
from gen3dexport.reports.records import (
    Estimated,
    Measured,
    MeasuredTimes,
    Report,
    Unmeasured,
    Value,
)


@dataclass(frozen=True)
class Thresholds:
    """How much worse B may be than A; None asks for nothing.

    Attributes:
        latency, size, memory: relative increase (0.05: five percent).
        quality: loss of the mean primary score of any kind of asset, absolute.
        accept_estimates: whether estimated latencies are judged.
    """

    latency: float | None = None
    size: float | None = None
    memory: float | None = None
    quality: float | None = None
    accept_estimates: bool = False

    def of(self, group: Group) -> float | None:
        """The threshold of a group of numbers."""
        match group:
            case "latency":
                return self.latency
            case "size":
                return self.size
            case "memory":
                return self.memory
            case "quality":
                return self.quality


@dataclass(frozen=True)
class Entry:
    """One number of a report.

    Attributes:
        program: that it is of; "" for the whole bundle.
        unit: "" for a pure number.
        group: of the threshold that judges it, or None when it is only shown.
    """

    program: str
    metric: str
    unit: str
    value: Value
    group: Group | None = None


_EXIT_CODES = {"quality": ACCURACY, "latency": COST, "memory": COST, "size": COST}


def compare(a: Report, b: Report, thresholds: Thresholds) -> Comparison:
    """Rows of numbers of A and B, their change and, where a threshold asks for one, a verdict."""
    before, after = ({(e.program, e.metric): e for e in _entries(r, other)} for r, other in ((a, b), (b, a)))
    keys = dict.fromkeys((*before, *after))
    rows = tuple(_row(before.get(key), after.get(key), thresholds, a, b) for key in keys)
    verdicts = {r.verdict for r in rows if r.verdict}
    return Comparison(a=_side(a), b=_side(b), rows=rows, verdict=_worst(verdicts))


def exit_code(comparison: Comparison) -> int:
    """0; 5 or 6 for the first failed row, quality first; 8 when a threshold could not be judged."""
    failed = [_EXIT_CODES[r.group] for r in comparison.rows if r.verdict == "fail" and r.group is not None]
    return min(failed, default=UNMEASURED if comparison.verdict == "not judged" else 0)


def _worst(verdicts: Set[Judgement]) -> Judgement | None:
    return "fail" if "fail" in verdicts else "not judged" if "not judged" in verdicts else "pass" if verdicts else None


def _side(report: Report) -> Side:
    return Side(
        bundle=report.bundle,
        recipe=report.recipe,
        target=report.target,
        device=report.device,
        created=report.created,
    )


def _entries(report: Report, other: Report) -> list[Entry]:
    """Every number that is compared; size, latency and quality are judged of the bundle, memory of each program."""
    found = [
        Entry("", "size_mb", "MB", Measured(value=report.size_bytes / 1e6), "size"),
        Entry("", "latency_ms", "ms", median(report.pipeline.latency), "latency"),
        *_scores(report, other),
    ]
    for c in report.components:
        error = c.errors.worst("fp32")
        unknown = Unmeasured(reason=c.missing or "there is no float32 result of it")
        found += [
            Entry(c.name, "size_mb", "MB", Measured(value=c.bytes / 1e6)),
            Entry(c.name, "latency_ms", "ms", median(c.latency)),
            Entry(c.name, "peak_memory_mb", "MB", peak_mb(c.peak_memory), "memory"),
            Entry(c.name, "relative_l2_fp32", "", unknown if error is None else Measured(value=error)),
        ]
    return found


def _scores(report: Report, other: Report) -> list[Entry]:
    """The mean of every score over the prompts; the primary one of each kind is judged.

    A report without quality has the other's scores, unmeasured.
    """
    quality = report.pipeline.quality
    unmeasured = Unmeasured(reason=report.pipeline.missing or "no assets were made")
    entries = []
    for of_prompt in (quality or other.pipeline.quality)[:1]:
        for kind, scores in of_prompt.scores.items():
            for place, score in enumerate(scores):
                values = [s.value for q in quality if (s := q.score(kind, score.name)) is not None]
                mean = Measured(value=sum(values) / len(values)) if values else unmeasured
                entries.append(Entry("", f"{kind}.{score.name}", score.unit, mean, None if place else "quality"))
    return entries or [Entry("", "quality", "", unmeasured, "quality")]


def _unlike(metric: str, a: Report, b: Report) -> str | None:
    """Why two measured numbers of these reports say nothing about each other, or None when they do."""
    if metric in ("latency_ms", "peak_memory_mb"):
        if a.device != b.device:
            return "measured on different devices"
        threads = [{c.latency.threads for c in r.components if isinstance(c.latency, MeasuredTimes)} for r in (a, b)]
        return "measured with different numbers of threads" if threads[0] != threads[1] else None
    prompts = [(r.pipeline.prompts, r.pipeline.seed) for r in (a, b)]
    if metric not in ("size_mb", "relative_l2_fp32") and prompts[0] != prompts[1]:
        return "different prompts or seeds"
    return None


def _row(one: Entry | None, other: Entry | None, thresholds: Thresholds, a: Report, b: Report) -> Row:
    """A row with its verdict."""
    entry = one or other
    assert entry is not None
    before, after = (None if e is None else number_of(e.value) for e in (one, other))
    change = relative = None
    if one and other and one.value.basis == other.value.basis and before is not None and after is not None:
        change = after - before
        relative = change / abs(before) if before else None
    limit = thresholds.of(entry.group) if entry.group is not None else None
    verdict: Judgement | None = None
    reason = None
    if limit is not None:
        reason = _not_judged(one, other, thresholds.accept_estimates) or _unlike(entry.metric, a, b)
        verdict = "not judged"
        if reason is None and change is not None:
            verdict = "pass" if _loss(entry.group, change, relative) <= limit else "fail"
    return Row(
        program=entry.program,
        metric=entry.metric,
        unit=entry.unit,
        a=None if one is None else one.value,
        b=None if other is None else other.value,
        change=change,
        relative_change=relative,
        group=entry.group,
        limit=limit,
        verdict=verdict,
        reason=reason,
    )


def _loss(group: Group | None, change: float, relative: float | None) -> float:
    """How much worse B is; an increase from nothing is infinite."""
    if group == "quality":
        return -change
    return relative if relative is not None else 0.0 if change == 0 else float("inf")


def _not_judged(a: Entry | None, b: Entry | None, accept_estimates: bool) -> str | None:
    if a is None or b is None:
        return f"only in {'B' if a is None else 'A'}"
    one, other = a.value, b.value
    unmeasured = [
        f"{name} is unmeasured: {v.reason}" for name, v in (("A", one), ("B", other)) if isinstance(v, Unmeasured)
    ]
    if unmeasured:
        return "; ".join(unmeasured)
    if one.basis != other.basis:
        return f"A is {one.basis} and B is {other.basis}"
    if isinstance(one, Estimated) and isinstance(other, Estimated):
        if one.worst.by != other.worst.by:
            return f"estimated by {one.worst.by} and by {other.worst.by}"
        return None if accept_estimates else "only estimated, and estimates are not accepted (--accept-estimates)"
    return None


def share(text: str, option: str) -> float:
    """`5%` or `0.05` as 0.05.

    Raises:
        UsageError: when it is neither.
    """
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UsageError(f"{option} {text!r}: needs a share such as 5% or 0.05")
    return value
