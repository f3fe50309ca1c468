"""What a comparison of two reports is, as records, and how people read it. No torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gen3dexport.documents.record import Record
from gen3dexport.reports.records import Estimated, Measured, Number, Unmeasured, Value
from gen3dexport.reports.text import number

Group = Literal["quality", "latency", "memory", "size"]
Judgement = Literal["pass", "fail", "not judged"]


class Row(Record):
    """One number of both reports.

    Attributes:
        program: that it is of; "" for the whole bundle.
        a, b: None where a report has no such program or score.
        change: B - A; relative_change: that over |A|.
        limit: threshold, where one asks for a verdict; reason: why it is not judged.
    """

    program: str
    metric: str
    a: Value | None
    b: Value | None
    change: Number | None
    relative_change: Number | None
    group: Group | None
    limit: float | None
    verdict: Judgement | None
    reason: str | None


class Side(Record):
    """What a report is of."""

    bundle: str
    recipe: str
    target: str
    device: str
    created: str


class Comparison(Record):
    """Two reports side by side; the verdict is None without thresholds."""

    schema_version: Literal[2] = Field(default=2, alias="schema")
    a: Side
    b: Side
    rows: tuple[Row, ...]
    verdict: Judgement | None


def cells(row: Row) -> tuple[str, str, str, str, str]:
    """A row as people read it: what, A, B, change, verdict."""
    relative, verdict = row.relative_change, str(row.verdict or "")
    change = "–" if row.change is None else f"{row.change:+.3g}" + (f" ({relative:+.1%})" if relative else "")
    if row.reason:
        verdict += f": {row.reason}"
    elif row.limit is not None:
        verdict += f" (limit {'-' if row.group == 'quality' else '+'}{row.limit:.3g})"
    return f"{row.program or 'bundle'} {row.metric}", _cell(row.a), _cell(row.b), change, verdict


def _cell(value: Value | None) -> str:
    match value:
        case Measured():
            return number(value.value)
        case Estimated():
            return f"{number(value.worst.value)} (estimated: {value.worst.by})"
        case Unmeasured():
            return "unmeasured"
    return "–"


def to_markdown(comparison: Comparison) -> str:
    """The comparison as a pull-request comment."""
    sides = [
        f"{name}: {side.recipe} on {side.target} ({side.bundle}), {side.device}"
        for name, side in (("A", comparison.a), ("B", comparison.b))
    ]
    lines = [f"**gen3dexport compare: {comparison.verdict or 'no thresholds'}**", "", *sides, ""]
    lines += ["| what | A | B | change | verdict |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join(c.replace('|', '/') for c in cells(row))} |" for row in comparison.rows]
    return "\n".join(lines) + "\n"
