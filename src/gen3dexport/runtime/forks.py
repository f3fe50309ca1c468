"""Programs and processes that fork: a child has none of its parent's threads, and waits for them for ever."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

from gen3dexport.errors import UsageError

_FIRST: dict[str, int] = {}
"""The process that first opened programs of a library, by its name (`NO_FORK`); a child inherits its parent's."""


def check(bundle: Path, opened_by: int | None, backend: ModuleType) -> None:
    """Refuse a program that would hang in this process.

    Args:
        opened_by: the process that opened the bundle's first program; None before that.
        backend: of the bundle; its optional `NO_FORK` names the library that no process can use whose parent has.

    Raises:
        UsageError: when programs were opened before this process was forked.
    """
    here = os.getpid()
    library: str | None = getattr(backend, "NO_FORK", None)
    first = here if library is None else _FIRST.setdefault(library, here)
    if opened_by in (None, here) and first == here:
        return
    cause = f"{library} was used" if first != here else "its programs were loaded"
    raise UsageError(
        f"{bundle}: {cause} before this process was forked, whose threads are not here: a call would never return. "
        "Load bundles after the fork, in each worker, and none before it (gunicorn: without --preload; "
        "multiprocessing: the start method spawn)"
    )
