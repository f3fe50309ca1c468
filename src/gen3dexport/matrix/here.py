"""Cells on this machine: so many at a time, each when there is memory for it; one that fails stops no other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from gen3dexport.errors import GenExportError, MissingError
from gen3dexport.matrix.cells import Cell
from gen3dexport.matrix.memory import Memory, TooLarge, need
from gen3dexport.matrix.one_cell import Work, build_cell, expected_peak
from gen3dexport.matrix.results import INTERRUPTED, Result

OnChange = Callable[[Cell, str | Result], None]
"""Called with a cell and what it does now (plan, wait, build), or what became of it; by several threads."""

STOPPED = "the matrix was stopped before it was built"


def build_here(cells: Sequence[Cell], work: Work, jobs: int, memory: Memory, on_change: OnChange) -> list[Result]:
    """What became of each cell, in their order.

    Raises:
        Interrupted: after the running cells were ended and every cell was told to `on_change`.
    """
    stop = threading.Event()
    results: dict[str, Result] = {}
    known: dict[str, int] = {}

    def finish(cell: Cell, result: Result) -> None:
        results[cell.name] = result
        on_change(cell, result)

    def work_on(cell: Cell) -> None:
        finish(cell, _one(cell, work, known, memory, on_change, stop.is_set))

    with ThreadPoolExecutor(jobs, thread_name_prefix="cell") as pool:
        futures: set[Future[None]] = {pool.submit(work_on, cell) for cell in cells}
        try:
            while futures:
                done, futures = wait(futures, timeout=1, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
        finally:  # also when this thread is interrupted: running cells see it, those that wait begin and end at once
            stop.set()
    return [results[cell.name] for cell in cells]


def estimate(cell: Cell, work: Work, known: dict[str, int], stopped: Callable[[], bool]) -> int | Cell:
    """Bytes that a cell is given: by an earlier build of it, else by its plan; or the cell with why it is not built.

    Args:
        known: networks -> what a plan expects them to need; cells with the same ones are planned once.
    """
    earlier = work.place.result(cell.name)
    if earlier is not None and earlier.peak_bytes and earlier.digest == cell.digest:
        return need(None, earlier.peak_bytes)
    if cell.networks not in known:
        expected = expected_peak(cell, work, stopped)
        if isinstance(expected, Cell):
            return expected
        known[cell.networks] = expected
    return need(known[cell.networks], None)


def too_large(cell: Cell, problem: TooLarge, estimated: int) -> Result:
    """A cell that is not tried, for want of memory."""
    reason = f"{problem}; build it on a larger machine, or give --memory to try it here"
    return cell.result("skipped", MissingError.exit_code, reason, estimated_bytes=estimated)


def interrupted(cell: Cell) -> Result:
    """A cell that was not begun when the matrix was stopped."""
    return cell.result("skipped", INTERRUPTED, STOPPED)


def broken(cell: Cell, error: Exception) -> Result:
    """A cell whose build this process could not even begin, or keep: a full disk, no more processes."""
    code = error.exit_code if isinstance(error, GenExportError) else 1
    return cell.result("failed", code, f"{type(error).__name__}: {error}")


def _one(
    cell: Cell, work: Work, known: dict[str, int], memory: Memory, on_change: OnChange, stopped: Callable[[], bool]
) -> Result:
    """One cell from its estimate to its end."""
    if stopped():
        return interrupted(cell)
    try:
        on_change(cell, "plan")
        estimated = estimate(cell, work, known, stopped)
        if stopped():
            return interrupted(cell)
        if isinstance(estimated, Cell):
            assert estimated.status is not None
            return estimated.result(estimated.status, estimated.exit_code, estimated.reason)
        on_change(cell, "wait")
        try:
            with memory.room(estimated, stopped) as use:
                if stopped():
                    return interrupted(cell)
                on_change(cell, "build")
                return build_cell(cell, work, estimated, stopped=stopped, watch=use)
        except TooLarge as problem:
            return too_large(cell, problem, estimated)
    except Exception as error:  # this cell's alone
        return broken(cell, error)
