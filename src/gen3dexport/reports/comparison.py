"""What a comparison of two reports is, as records, and how people read it. No torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gen3dexport.documents.record import Record
from gen3dexport.reports.judge import number_of
from gen3dexport.reports.records import Estimated, Number, Unmeasured, Value
from gen3dexport.reports.text import basis_text, number, table

Group = Literal["quality", "latency", "memory", "size"]
Judgement = Literal["pass", "fail", "not judged"]


class Row(Record):
    """One number of both reports.

    Attributes:
        program: that it is of; "" for the whole bundle.
        metric: its name, in a report's JSON or `KIND.SCORE`; unit: "" for a pure number.
        a, b: None where a report has no such program or score.
        change: B - A; relative_change: that over |A|.
        limit: threshold, where one asks for a verdict; reason: why it is not judged.
    """

    program: str
    metric: str
    unit: str
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


HEAD = ("program", "what, unit", "A", "B", "change", "basis", "verdict")
_NAMES = {
    "size_mb": "size",
    "latency_ms": "latency",
    "peak_memory_mb": "peak memory",
    "relative_l2_fp32": "relative L2 to fp32",
}
"""Of the numbers whose names in JSON have their unit in them."""


def cells(row: Row) -> tuple[str, ...]:
    """A row as people read it, under `HEAD`."""
    relative, verdict = row.relative_change, str(row.verdict or "")
    change = (
        "–"
        if row.change is None
        else f"{'+' if row.change >= 0 else ''}{number(row.change)}" + (f" ({relative:+.1%})" if relative else "")
    )
    if row.reason:
        verdict += f": {row.reason}"
    elif row.limit is not None:
        verdict += f" (limit {-row.limit:.3g})" if row.group == "quality" else f" (limit +{100 * row.limit:.3g}%)"
    what = _NAMES.get(row.metric, row.metric.replace(".", " ", 1)) + (f", {row.unit}" if row.unit else "")
    return row.program or "bundle", what, _cell(row.a), _cell(row.b), change, _basis(row), verdict


def _cell(value: Value | None) -> str:
    return number(None if value is None else number_of(value))


def _basis(row: Row) -> str:
    """How both numbers are known: one word where they are known alike, or where only one side has one."""
    sides = [(name, value.basis) for name, value in (("A", row.a), ("B", row.b)) if value is not None]
    if len({basis for _, basis in sides}) == 1:
        return sides[0][1]
    return ", ".join(f"{name} {basis}" for name, basis in sides)


def notes(comparison: Comparison) -> list[str]:
    """Below that table: each cost model of a side, and each reason why a number of it is unmeasured."""
    found = [
        f"{name}: {basis_text(value)}"
        for name, values in (("A", [r.a for r in comparison.rows]), ("B", [r.b for r in comparison.rows]))
        for value in values
        if isinstance(value, Estimated | Unmeasured)
    ]
    return list(dict.fromkeys(found))


def to_markdown(comparison: Comparison) -> str:
    """The comparison as a pull-request comment."""
    sides = [
        f"{name}: {side.recipe} on {side.target} ({side.bundle}), {side.device}"
        for name, side in (("A", comparison.a), ("B", comparison.b))
    ]
    lines = [f"**gen3dexport compare: {comparison.verdict or 'no thresholds'}**", "", *sides, ""]
    lines += table(HEAD, [cells(row) for row in comparison.rows])
    lines += [line for note in notes(comparison) for line in ("", note)]
    return "\n".join(lines) + "\n"
