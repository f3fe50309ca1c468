"""Tables as plain text. Without rich, which takes longer to import than `ls` runs."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence

_NARROWEST = 12
"""Words are not cut to fit into less."""


def emphasis() -> tuple[str, str]:
    """What begins and ends bold text on a terminal that shows it; else nothing."""
    return ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else ("", "")


def folded(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Rows of texts as rows of lines; on a terminal, the widest columns are folded until it holds them all, between
    words as long as that is enough."""
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    words = [max(map(len, " ".join(column).split()), default=0) for column in columns]
    excess = sum(widths) - (shutil.get_terminal_size().columns - 2 * (len(widths) - 1))
    for _ in range(excess if sys.stdout.isatty() else 0):
        room = [place for place, width in enumerate(widths) if width > words[place]]
        room = room or [place for place, width in enumerate(widths) if width > _NARROWEST]
        if room:
            widths[max(room, key=widths.__getitem__)] -= 1
    return [_lines(row, widths) for row in rows]


def _lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = [textwrap.wrap(cell, width) if cell else [] for cell, width in zip(row, widths, strict=True)]
    return [
        "  ".join(f"{part:{width}}" for part, width in zip(parts, widths, strict=True)).rstrip()
        for parts in itertools.zip_longest(*cells, fillvalue="")
    ]


def show_rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of texts; marks of an HTML heading (`#`, `~`) are left out."""
    bold, plain = emphasis()
    first, *others = folded([[name.lstrip("#~") for name in head], *rows])
    print(*(f"{bold}{line}{plain}" for line in first), *(line for lines in others for line in lines), sep="\n")
