"""A report as text: numbers as people read them, Markdown, and JUnit XML. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from gen3dexport.assets.score import Score
from gen3dexport.documents.licences import warning
from gen3dexport.reports.records import Against, Errors, Estimated, Judged, Latency, MeasuredTimes, Quality, Report

ENOUGH_RUNS = 5
"""Fewer calls have no 90th and 99th percentile that means anything."""


def number(value: float | None, digits: int = 3) -> str:
    """A number as people read it."""
    return "–" if value is None else f"{value:.{digits}g}"


def latency_text(latency: Latency) -> str:
    """`1.2 ms (p90 1.4, p99 1.5)`, `1.2 ms (median of 2)`, `0.58 ms (estimated: v5e)` or `unmeasured: reason`."""
    match latency:
        case MeasuredTimes():
            if latency.runs < ENOUGH_RUNS:
                return f"{number(latency.p50_ms)} ms (median of {latency.runs})"
            return f"{number(latency.p50_ms)} ms (p90 {number(latency.p90_ms)}, p99 {number(latency.p99_ms)})"
        case Estimated():
            return "; ".join(f"{number(e.value)} ms (estimated: {e.by})" for e in latency.estimates)
    return f"unmeasured: {latency.reason}"


def error_text(errors: Errors, reference: Against) -> str:
    """The largest relative L2 error of one program, as people read it."""
    found = errors.worst(reference)
    return "unmeasured" if found is None else number(found, 2)


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
        *_table(
            ("budget", "limit", "value", "basis", "verdict"),
            [
                (b.name, limit_text(b), value_text(b), b.basis, b.verdict + (f" ({b.reason})" if b.reason else ""))
                for b in report.budgets
            ],
        ),
        "",
        *_table(
            ("program", "scheme", "size", "rel. L2 to quantized", "to fp32", "latency"),
            [
                (
                    c.name,
                    c.scheme,
                    f"{number(c.bytes / 1e6)} MB",
                    error_text(c.errors, "quantized"),
                    error_text(c.errors, "fp32"),
                    latency_text(c.latency),
                )
                for c in report.components
            ],
        ),
        "",
        f"One asset: {latency_text(report.pipeline.latency)}",
        "",
    ]
    if quality := report.pipeline.quality:
        columns = score_columns(quality)
        head = ("prompt", *(score_heading(kind, score) for kind, score in columns))
        lines += _table(head, [(q.prompt, *score_cells(q, columns)) for q in quality])
    return "\n".join(lines) + "\n"


def _licences(report: Report) -> list[str]:
    limit = warning(report.recipe, report.licences)
    known = "; ".join(f"{what} {text}" for what, text in report.licences.lines())
    return [f"Licences: {known}." + (f" **{limit}**" if limit else "")]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
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
