"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; every row has as many cells as the head.

    Raises:
        ValueError: for a row that has not.
    """
    lines = [head, ["---"] * len(head), *rows]
    if short := [row for row in lines if len(row) != len(head)]:
        raise ValueError(f"{head}: {len(head)} columns, and a row of {len(short[0])}: {short[0]}")
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)
