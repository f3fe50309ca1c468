"""Programs and processes that fork: a child has none of its parent's threads, and would wait for them for ever."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

from gen3dexport.errors import UsageError

_FIRST: dict[str, int] = {}
"""The process that first opened programs of a library, by its name (`NO_FORK`); a child inherits its parent's."""


def check(bundle: Path, backend: ModuleType) -> None:
    """Refuse a program that would hang in this process.

    Args:
        backend: of the bundle; its optional `NO_FORK` names the library that no process can use whose parent has.

    Raises:
        UsageError: when programs of that library were opened before this process was forked.
    """
    library: str | None = getattr(backend, "NO_FORK", None)
    if library is None or _FIRST.setdefault(library, os.getpid()) == os.getpid():
        return
    raise UsageError(
        f"{bundle}: {library} was used before this process was forked, whose threads are not here: a call would never "
        "return. Load bundles after the fork, in each worker, and none before it (gunicorn: without --preload; "
        "multiprocessing: the start method spawn)"
    )
