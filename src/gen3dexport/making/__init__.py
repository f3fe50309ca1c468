"""Entries of the stage cache, one a component: made in this process, or several at a time in processes of their own.

    with starting(jobs) as makers:
        makers.check(plan)
        making = makers.start(plan, name, states, on_stage)
        making.states()                                  # waits until the pipeline's states after it are known
        making.entry()                                   # waits until it is made

The next component needs the states alone, which a component has long before it is lowered: so a chain of components is
lowered side by side. What is made does not depend on the number of processes. No torch where others make it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gen3dexport.making.start import Makers


@contextmanager
def starting(jobs: int) -> Iterator[Makers]:
    """What makes so many components at a time; processes that it started are gone when the block ends.

    Args:
        jobs: 1 makes each in this process when it is begun.
    """
    if jobs == 1:
        from gen3dexport.making.here import Here

        yield Here()
        return
    from gen3dexport.making.workers import Workers

    workers = Workers(jobs)
    try:
        yield workers
    finally:
        workers.close()
