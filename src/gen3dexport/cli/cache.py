"""`gen3dexport cache`: what the caches hold, and making them smaller."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Literal

import typer

from gen3dexport.cli.app import Json, emit
from gen3dexport.errors import UsageError

EXAMPLE = "gen3dexport cache prune --max-size 2GB"

_SIZE = re.compile(r"(\d+(?:\.\d+)?) *([kMGT]?)B?", re.IGNORECASE)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def cache(
    action: Annotated[
        Literal["ls", "prune"],
        typer.Argument(help="ls shows what is kept; prune removes the least recently used of it.", metavar="ACTION"),
    ] = "ls",
    max_size: Annotated[
        str,
        typer.Option("--max-size", metavar="SIZE", help="What prune leaves at most, e.g. 500MB or 2GB; 0 for none."),
    ] = "",
    as_json: Json = False,
) -> None:
    """Show what builds and runs keep to be faster the next time, or make it smaller; all of it is made again when it is
    needed."""
    if action == "ls":
        if max_size:
            raise UsageError("--max-size: is for `gen3dexport cache prune`")
        show_cache(as_json)
        return
    from gen3dexport.bundle.cache_entries import entries, prune
    from gen3dexport.cli.tables import size_text

    removed = prune(read_size(max_size))
    left = entries()
    freed, rest = sum(e.bytes for e in removed), sum(e.bytes for e in left)
    emit(
        as_json,
        {"removed": len(removed), "freed_bytes": freed, "left": len(left), "left_bytes": rest},
        f"{len(removed)} entries removed ({size_text(freed)}); {len(left)} left ({size_text(rest)})",
    )


def read_size(text: str) -> int:
    """Bytes of a text like `500MB`, `2 GB` or `0`; units are powers of 1000.

    Raises:
        UsageError: when it is none.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"--max-size {text!r}: write a size, e.g. --max-size 500MB, or 0 to remove everything")
    return int(Decimal(found[1]) * _UNITS[found[2].lower()])


def show_cache(as_json: bool) -> None:
    """For each kind of entries its folder, how many there are, and their size."""
    import json

    from gen3dexport.bundle.cache_entries import KINDS, entries
    from gen3dexport.cli.text_table import show_rows
    from gen3dexport.documents.caches import cache_folder
    from gen3dexport.reports.text import number

    sizes: dict[str, list[int]] = {kind: [] for kind in KINDS}
    for entry in entries():
        sizes[entry.kind].append(entry.bytes)
    if as_json:
        rows = [
            {"kind": kind, "folder": str(cache_folder(kind)), "entries": len(own), "bytes": sum(own)}
            for kind, own in sizes.items()
        ]
        print(json.dumps({"kinds": rows, "bytes": sum(map(sum, sizes.values()))}, indent=1))
        return
    show_rows(
        ("kind", "holds", "entries", "size, MB", "folder"),
        [
            (kind, KINDS[kind], str(len(own)), number(sum(own) / 1e6), str(cache_folder(kind)))
            for kind, own in sizes.items()
        ],
    )
