"""A profile as people read it in a terminal: rows of texts."""

from __future__ import annotations

from collections.abc import Sequence

from gen3dexport.profiling.records import Profile, ProgramProfile, Ratio
from gen3dexport.reports.records import Latency, MeasuredMemory, MeasuredTimes
from gen3dexport.reports.text import number

PROGRAM_HEAD = ("program", "scheme", "#calls", "#ms a call", "#profiled", "#operators", "#share", "#peak MB", "basis")
OPERATOR_HEAD = ("program", "operator", "kind", "place", "#runs", "#ms a call", "#share", "#MB")
RATIO_HEAD = ("component", "operators", "#A, ms", "#B, ms", "#B / A")


def program_rows(profile: Profile) -> list[tuple[str, ...]]:
    """A row for each program; its share is of one asset's time in programs."""
    components = [p for p in profile.programs if p.role == "component"]
    asset = sum(p.calls * p.call_ms for p in components if p.call_ms is not None)
    rows = []
    for p in profile.programs:
        share = p.calls * p.call_ms / asset if p.call_ms is not None and asset and p.role == "component" else None
        memory = p.peak_memory.bytes / 1e6 if isinstance(p.peak_memory, MeasuredMemory) else None
        times = (_p50(p.call), _p50(p.traced), p.operators_ms)
        rows.append(
            (p.program, p.scheme, str(p.calls), *map(number, times), _percent(share), number(memory), _basis(p))
        )
    return rows


def operator_rows(profile: Profile, most: int | None) -> list[tuple[str, ...]]:
    """The operators that take most of one asset, each with its program; all of them without `most`."""
    found = [(p, row) for p in profile.programs for row in p.operators]
    found.sort(key=lambda pair: -pair[0].calls * pair[1].ms)
    return [
        (
            p.program,
            row.operator,
            row.kind,
            row.place,
            number(row.runs),
            number(row.ms),
            _percent(row.share),
            number(None if row.bytes is None else row.bytes / 1e6),
        )
        for p, row in found[:most]
    ]


def ratio_rows(ratios: Sequence[Ratio], most: int | None = None) -> list[tuple[str, ...]]:
    """Two bundles side by side."""
    return [
        (r.component, r.operator, number(r.a_ms), number(r.b_ms), "–" if r.ratio is None else f"{r.ratio:.2f}")
        for r in ratios[:most]
    ]


def notes(profile: Profile) -> list[str]:
    """By whom the numbers are, what is unmeasured and why, and what profiling itself takes."""
    found: dict[str, list[str]] = {}
    for p in profile.programs:
        if p.basis == "unmeasured":
            found.setdefault(f"operators unmeasured: {p.reason}", []).append(p.program)
        else:
            found.setdefault(f"operators {p.basis} by {p.by}; memory of an operator: {p.bytes}", []).append(p.program)
        if p.call.basis == "unmeasured":
            found.setdefault(f"call unmeasured: {p.call.reason}", []).append(p.program)
        if p.overhead is not None and p.operators_ms is not None:
            assert isinstance(p.traced, MeasuredTimes)
            covered = p.operators_ms / p.traced.mean_ms
            text = f"a profiled call takes {p.overhead:.2f} × a plain one, and its operators are {covered:.0%} of it"
            found[text] = [*found.get(text, []), p.program]
    return [f"{', '.join(names)}: {text}" for text, names in found.items()]


def _basis(program: ProgramProfile) -> str:
    bases = {"call": program.call.basis, "operators": program.basis}
    same = len({*bases.values()}) == 1
    return program.basis if same else ", ".join(f"{what} {basis}" for what, basis in bases.items())


def _p50(times: Latency) -> float | None:
    return times.p50_ms if isinstance(times, MeasuredTimes) else None


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}%"
