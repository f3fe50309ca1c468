"""What is said while a matrix is built: a table that changes on a terminal, else a line when a cell begins or ends."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table

from gen3dexport.matrix.cells import Cell
from gen3dexport.matrix.memory import gigabytes
from gen3dexport.matrix.results import Result, counted

COLOURS = {"pass": "green", "refused": "cyan", "failed": "red", "skipped": "yellow"}
_MOST_ROWS = 30
_MOST_WORDS = 100


class Progress:
    """What each cell does, for people, on stderr."""

    def __init__(self, cells: Sequence[Cell], console: Console) -> None:
        self._cells, self._console = cells, console
        self._turn = threading.Lock()
        self._doing: dict[str, tuple[str, float]] = {}
        self._results: dict[str, Result] = {}
        self._live = console.is_terminal

    def on_change(self, cell: Cell, now: str | Result) -> None:
        """Take note that a cell does something else."""
        with self._turn:
            if isinstance(now, Result):
                self._doing.pop(cell.name, None)
                self._results[cell.name] = now
                self._say(told(now))
            else:
                self._doing[cell.name] = now, time.monotonic()
                if now == "build":
                    self._say(f"{cell.name}: build")

    def _say(self, line: str) -> None:
        if not self._live:
            self._console.print(line, markup=False, soft_wrap=True)

    def __rich__(self) -> Table:
        """The table as it is now: running cells first, then the last that ended."""
        with self._turn:
            doing, results = dict(self._doing), list(self._results.values())
        left = len(self._cells) - len(doing) - len(results)
        title = f"{len(results)} of {len(self._cells)} cells: {counted(results)}; {left} wait"
        table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
        for column in ("cell", "status", "seconds", "peak memory", "why"):
            table.add_column(column, overflow="ellipsis", no_wrap=True)
        for name, (what, since) in doing.items():
            table.add_row(name, f"[bold]{what}[/bold]", f"{time.monotonic() - since:.0f}", "", "")
        for r in results[::-1][:_MOST_ROWS]:
            peak = gigabytes(r.peak_bytes) if r.peak_bytes else ""
            seconds = "" if r.seconds is None else f"{r.seconds:.0f}"
            table.add_row(r.name, f"[{COLOURS[r.status]}]{r.status}[/]", seconds, peak, _short(r.reason))
        return table


def told(result: Result) -> str:
    """One cell that ended, in a line."""
    facts = [] if result.seconds is None else [f"{result.seconds:.0f} s"]
    facts += [gigabytes(result.peak_bytes)] if result.peak_bytes else []
    code = f" ({result.exit_code})" if result.exit_code else ""
    why = f": {_short(result.reason)}" if result.reason else ""
    return f"{result.name}: {result.status}{code}" + (f", {', '.join(facts)}" if facts else "") + why


def _short(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= _MOST_WORDS else f"{line[:_MOST_WORDS]}…"


@contextmanager
def progress(cells: Sequence[Cell], quiet: bool) -> Iterator[Progress]:
    """Progress on stderr while the block runs."""
    from rich.live import Live

    console = Console(stderr=True, quiet=quiet, highlight=False)
    shown = Progress(cells, console)
    live: Any = Live(get_renderable=shown.__rich__, console=console, refresh_per_second=2)
    if not console.is_terminal or quiet:
        yield shown
        return
    with live:
        yield shown
    sys.stderr.flush()
