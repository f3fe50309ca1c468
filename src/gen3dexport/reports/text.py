"""A report as text: numbers as people read them, Markdown, and JUnit XML. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from gen3dexport.assets.score import Score
from gen3dexport.documents.licences import warning
from gen3dexport.reports.records import (
    Against,
    Estimated,
    Judged,
    Latency,
    MeasuredTimes,
    ProgramReport,
    Quality,
    Report,
    Unmeasured,
    Value,
)

ENOUGH_RUNS = 5
"""Fewer calls have no 90th and 99th percentile that means anything."""


def number(value: float | None, digits: int = 3) -> str:
    """A number as people read it: so many digits, and those before the point in full up to a million."""
    if value is None:
        return "–"
    text = f"{value:.{digits}g}"
    return f"{value:.0f}" if 1 <= abs(float(text)) < 1e6 and "e" in text else text


def basis_text(found: Value) -> str:
    """`measured`, `estimated by roofline v5e` or `unmeasured: reason`."""
    match found:
        case Estimated():
            return f"estimated by {found.worst.by}"
        case Unmeasured():
            return f"unmeasured: {found.reason}"
    return found.basis


def latency_text(latency: Latency) -> str:
    """`1.2 ms measured (p90 1.4, p99 1.5)`, `1.2 ms measured (median of 2)`, `0.58 ms estimated by roofline v5e` or
    `unmeasured: reason`."""
    match latency:
        case MeasuredTimes():
            return f"{number(latency.p50_ms)} ms measured ({_spread(latency)})"
        case Estimated():
            return "; ".join(f"{number(e.value)} ms estimated by {e.by}" for e in latency.estimates)
    return f"unmeasured: {latency.reason}"


def _spread(latency: MeasuredTimes) -> str:
    if latency.runs < ENOUGH_RUNS:
        return f"median of {latency.runs}"
    return f"p90 {number(latency.p90_ms)}, p99 {number(latency.p99_ms)}"


PROGRAM_HEAD = (
    "program",
    "scheme",
    "size, MB",
    "measured relative L2 to quantized",
    "measured relative L2 to fp32",
    "latency, ms",
    "its basis",
)


def program_cells(program: ProgramReport, spread: bool = False) -> tuple[str, ...]:
    """A program in a table under `PROGRAM_HEAD`; with `spread`, percentiles stand beside a measured median."""
    match latency := program.latency:
        case MeasuredTimes():
            milliseconds = number(latency.p50_ms) + (f" ({_spread(latency)})" if spread else "")
        case Estimated():
            milliseconds = "; ".join(number(e.value) for e in latency.estimates)
        case Unmeasured():
            milliseconds = number(None)
    errors = _error(program, "quantized"), _error(program, "fp32")
    return program.name, program.scheme, number(program.bytes / 1e6), *errors, milliseconds, latency.basis


def _error(program: ProgramReport, reference: Against) -> str:
    found = program.errors.worst(reference)
    return "unmeasured" if found is None else number(found, 2)


def program_notes(programs: Sequence[ProgramReport]) -> list[str]:
    """Below that table: which cost models estimated a latency, or why it is unmeasured; a line for programs alike."""
    alike: dict[str, list[str]] = {}
    for program in programs:
        match program.latency:
            case Estimated() as latency:
                alike.setdefault("estimated by " + "; ".join(e.by for e in latency.estimates), []).append(program.name)
            case Unmeasured() as latency:
                alike.setdefault(basis_text(latency), []).append(program.name)
    return [f"latency of {', '.join(names)}: {text}" for text, names in alike.items()]


def limit_text(budget: Judged) -> str:
    """`≥ 0.9` or `≤ 5 ms`."""
    return f"{'≥' if budget.floor else '≤'} {number(budget.limit)} {budget.unit}".rstrip()


def value_text(budget: Judged) -> str:
    """`0.95` or `4.2 ms`."""
    return f"{number(budget.value)} {budget.unit}".rstrip()


def score_columns(quality: Sequence[Quality]) -> list[tuple[str, Score]]:
    """Every (kind, score) of any prompt, in order, to head a table's columns."""
    found = {(kind, s.name): s for q in quality for kind, scores in q.scores.items() for s in scores}
    return [(kind, score) for (kind, _), score in found.items()]


def score_heading(kind: str, score: Score) -> str:
    """`mesh f_score` or `gaussians psnr, dB`."""
    return f"{kind.replace('_', ' ')} {score.name}" + (f", {score.unit}" if score.unit else "")


def score_cells(quality: Quality, columns: Sequence[tuple[str, Score]]) -> list[str]:
    """A prompt's numbers in a table's columns."""
    found = (quality.score(kind, score.name) for kind, score in columns)
    return [number(None if s is None else s.value) for s in found]


def to_markdown(report: Report) -> str:
    """The report for people and pull requests."""
    lines = [
        f"# {report.recipe} on {report.target}: {report.verdict}",
        "",
        f"Measured on {report.device}." + (" **Random weights: sizes only.**" if report.random_weights else ""),
        "",
        *_licences(report),
        "",
        *table(
            ("budget", "limit", "value", "basis", "verdict"),
            [
                (b.name, limit_text(b), value_text(b), b.basis, b.verdict + (f" ({b.reason})" if b.reason else ""))
                for b in report.budgets
            ],
        ),
        "",
        *table(PROGRAM_HEAD, [program_cells(c, spread=True) for c in report.components]),
        "",
        *(line for note in program_notes(report.components) for line in (note, "")),
        f"One asset: {latency_text(report.pipeline.latency)}",
        "",
    ]
    if quality := report.pipeline.quality:
        columns = score_columns(quality)
        head = ("prompt", *(score_heading(kind, score) for kind, score in columns), "basis")
        lines += table(head, [(q.prompt, *score_cells(q, columns), "measured") for q in quality])
    return "\n".join(lines) + "\n"


def _licences(report: Report) -> list[str]:
    limit = warning(report.recipe, report.licences)
    known = "; ".join(f"{what} {text}" for what, text in report.licences.lines())
    return [f"Licences: {known}." + (f" **{limit}**" if limit else "")]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    first, *rest = (f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in (head, *rows))
    return [first, "|" + "---|" * len(head), *rest]


def to_junit(report: Report) -> str:
    """One test case per budget, for continuous integration."""
    budgets = report.budgets
    counts = {v: str(sum(b.verdict == v for b in budgets)) for v in ("fail", "unmeasured")}
    name = f"{report.recipe} on {report.target}"
    suite = ElementTree.Element(
        "testsuite", name=name, tests=str(len(budgets)), failures=counts["fail"], skipped=counts["unmeasured"]
    )
    for b in budgets:
        case = ElementTree.SubElement(suite, "testcase", classname=f"gen3dexport.{report.target}", name=b.name)
        text = f"{b.name}: {number(b.value)}, limit {number(b.limit)} {b.unit} ({b.basis})"
        if b.verdict == "fail":
            ElementTree.SubElement(case, "failure", message=text)
        elif b.verdict == "unmeasured":
            ElementTree.SubElement(case, "skipped", message=b.reason or "unmeasured")
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)
