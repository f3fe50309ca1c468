"""The report of a matrix as a page: the status table, times and memory; it needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from gen3dexport.matrix.results import Result, counted
from gen3dexport.matrix.tables import DASH, LEGEND, made_line, status
from gen3dexport.pages.page import page, section, table

_BADGES = {"pass": "pass", "refused": "open", "failed": "fail", "skipped": "open"}


def render_html(results: Sequence[Result], made: Mapping[str, Any]) -> str:
    """The page; links lead to bundles' own reports, and to logs, beside it."""
    header = (
        f'<header><div class="top"><h1>Matrix</h1></div><dl class="facts">'
        f"<div><dt>cells</dt><dd>{len(results)}: {escape(counted(results))}</dd></div>"
        f"<div><dt>made</dt><dd>{escape(made_line(made))}</dd></div></dl></header>"
    )
    body = [
        header,
        section("Status", _grid(results)),
        section("Cells", _cells(results), f'<p class="soft small">{escape(LEGEND)}</p>'),
    ]
    return page("Matrix", [part for part in body if part], {})


def _grid(results: Sequence[Result]) -> str:
    targets = list(dict.fromkeys(r.target for r in results))
    found = {(r.recipe, r.target): r for r in results}
    lines = []
    for recipe in dict.fromkeys(r.recipe for r in results):
        cells = [found.get((recipe, target)) for target in targets]
        lines.append([escape(recipe), *(DASH if r is None else _badge(r) for r in cells)])
    return table(["recipe", *map(escape, targets)], lines)


def _badge(result: Result) -> str:
    """The status, which leads to the cell's report or log, with why as its title."""
    words = (
        f'<span class="badge {_BADGES[result.status]}" title="{escape(result.reason)}">{escape(status(result))}</span>'
    )
    return f'<a href="{escape(_link(result))}">{words}</a>' if result.host else words


def _link(result: Result) -> str:
    if result.status == "pass":
        return f"bundles/{result.name}/report.html"
    return f"logs/{result.name}.log"


def _cells(results: Sequence[Result]) -> str:
    head = ("cell", "status", "#build, s", "#size, MB", "#peak memory, GB", "#expected, GB", "~where", "~why")
    return table(head, [_row(r) for r in results])


def _row(r: Result) -> Sequence[str]:
    numbers = (
        DASH if r.seconds is None else f"{r.seconds:.0f}",
        DASH if r.size_bytes is None else f"{r.size_bytes / 1e6:.2f}",
        DASH if r.peak_bytes is None else f"{r.peak_bytes / 1e9:.2f}",
        DASH if r.estimated_bytes is None else f"{r.estimated_bytes / 1e9:.2f}",
    )
    where = ", then ".join(r.attempts) or r.host
    why = "; ".join(filter(None, (r.reason, r.unmeasured, r.pushed and f"pushed as {r.pushed}")))
    return (escape(r.name), _badge(r), *numbers, escape(where), escape(why))
