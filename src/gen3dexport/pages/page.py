"""What pages are made of: the page itself, sections, tables and the places of plots. They need no network."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from gen3dexport.pages.plots import Figure

Row = Sequence[str]

SPLATS = 'class="splats"'
"""Of the canvases that splat_viewer.js draws."""


def page(title: str, body: Sequence[str], drawn: Mapping[str, Figure | None]) -> str:
    """A page of its own: sections, and the figures that are drawn where they have a place (`id`)."""
    from plotly.offline import get_plotlyjs

    text = "\n".join(body)
    return Template(Path(__file__).with_name("template.html").read_text(encoding="utf-8")).substitute(
        title=escape(title),
        body=text,
        plotly=get_plotlyjs(),
        splats=Path(__file__).with_name("splat_viewer.js").read_text(encoding="utf-8") if SPLATS in text else "",
        plots=_json({name: figure for name, figure in drawn.items() if figure is not None}),
    )


def section(title: str, *parts: str) -> str:
    return f"<section><h2>{title}</h2>{''.join(parts)}</section>" if any(parts) else ""


def table(head: Row, rows: Sequence[Row]) -> str:
    """An HTML table; a heading that starts with `#` is a column of numbers, with `~` one of text that may wrap."""
    kinds = {"#": ' class="n"', "~": ' class="wrap"'}
    styles = [kinds.get(h[0], "") for h in head]
    line: Callable[[str, Row], str] = lambda tag, cells: (  # noqa: E731
        "<tr>" + "".join(f"<{tag}{s}>{c}</{tag}>" for s, c in zip(styles, cells, strict=True)) + "</tr>"
    )
    body = "".join(line("td", row) for row in rows)
    header = line("th", [h.lstrip("#~") for h in head])
    return f'<div class="scroll"><table><thead>{header}</thead><tbody>{body}</tbody></table></div>'


def plot_place(drawn: Mapping[str, Figure | None], name: str) -> str:
    figure = drawn.get(name)
    return f'<div class="plot" id="{name}" style="height:{figure["layout"]["height"]}px"></div>' if figure else ""


def _json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
