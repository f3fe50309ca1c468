"""Cells of tables: numbers and stamps as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Content = Mapping[str, Any]
DASH = "–"


def megabytes(value: float) -> str:
    """Bytes in MB (1e6)."""
    return f"{value / 1e6:.0f}" if value >= 1e7 else f"{value / 1e6:.1f}"


def gibibytes(value: float) -> str:
    """Bytes in GiB."""
    return f"{value / 2**30:.2f}"


def small(value: float) -> str:
    """An error: two digits where it is small."""
    return "0" if value == 0 else f"{value:.3f}" if value >= 1e-2 else f"{value:.1e}"


def commits(content: Content) -> set[str]:
    """Commits that rows of a file were made at, where its rows say so."""
    rows = content.get("rows", [])
    flat = rows.values() if isinstance(rows, Mapping) else rows
    nested = [row for entry in flat for row in (entry, *(entry.values() if isinstance(entry, Mapping) else ()))]
    return {row["made"]["commit"] for row in nested if isinstance(row, Mapping) and "made" in row}


def stamp(row: Content) -> str:
    """When and at which commit a row was made."""
    return f"{row['made']['date']} `{row['made']['commit']}`"
