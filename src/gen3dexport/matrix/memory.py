"""How much memory a cell needs, and who may use it when: two cells that do not fit together never run at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gen3dexport.machine_memory import available

OF_A_PROCESS = 2_000_000_000
"""Bytes of a build beside its model: Python, torch, a compiler and the process that measures; assumed, until a
cell's own peak is known."""
MARGIN = 1.25
"""How much more than an earlier peak a cell is given: peaks are looked at each second."""
_PAUSE_S = 0.5
PATIENCE_S = 120.0
"""So long a cell waits for memory that none of the matrix's own cells has."""


class TooLarge(Exception):
    """A cell needs more memory than there is."""


def need(expected_peak: int | None, earlier_peak: int | None) -> int:
    """Bytes that a cell is given: by its earlier peak, else by its plan's estimate and what every build takes."""
    if earlier_peak is not None:
        return round(MARGIN * earlier_peak)
    return OF_A_PROCESS + (expected_peak or 0)


class Memory:
    """Memory that cells share, in the order in which they ask: a large one is not overtaken for ever by small ones.

    Attributes:
        most: bytes for all of them together.
    """

    def __init__(self, most: int, free: Callable[[], int] = available, patience: float = PATIENCE_S) -> None:
        """Args:
        free: bytes that can be had now.
        patience: seconds that a cell waits for memory that other programs have.
        """
        self.most = most
        self._free, self._patience = free, patience
        self._turn = threading.Condition()
        self._waiting: list[object] = []
        self._given: dict[object, int] = {}
        self._used: dict[object, int] = {}

    @contextmanager
    def room(self, wanted: int, stopped: Callable[[], bool] = lambda: False) -> Iterator[Callable[[int], None]]:
        """While a cell has so many bytes; what is yielded takes how many it uses now.

        Raises:
            TooLarge: when it can never have them, or other programs keep them.
        """
        if wanted > self.most:
            raise TooLarge(f"needs {gigabytes(wanted)}, and {gigabytes(self.most)} are there for cells")
        me = object()
        with self._turn:
            self._waiting.append(me)
            try:
                self._wait(me, wanted, stopped)
                self._given[me], self._used[me] = wanted, 0
            finally:
                self._waiting.remove(me)
                self._turn.notify_all()
        try:
            yield lambda used: self._used.__setitem__(me, used)
        finally:
            with self._turn:
                del self._given[me], self._used[me]
                self._turn.notify_all()

    def _wait(self, me: object, wanted: int, stopped: Callable[[], bool]) -> None:
        """Until it is this one's turn and there is room."""
        alone_since: float | None = None
        while not stopped():
            if self._waiting[0] is me and self._fits(wanted):
                return
            first_and_alone = self._waiting[0] is me and not self._given
            alone_since = (alone_since or time.monotonic()) if first_and_alone else None
            if alone_since is not None and time.monotonic() - alone_since >= self._patience:
                free = gigabytes(self._free())
                raise TooLarge(f"needs {gigabytes(wanted)}, and other programs leave {free} free")
            self._turn.wait(_PAUSE_S)

    def _fits(self, wanted: int) -> bool:
        """Whether so many bytes are there beside what running cells were given, also what they do not use yet."""
        promised = sum(max(0, given - self._used[cell]) for cell, given in self._given.items())
        return wanted + sum(self._given.values()) <= self.most and wanted + promised <= self._free()


def gigabytes(size: int) -> str:
    """Bytes in GB (1e9)."""
    return f"{size / 1e9:.1f} GB"
