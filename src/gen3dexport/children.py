"""Processes that end when the process that started them does, however that ends.

A child that outlives a killed build measures for nobody, or writes where the next build works.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

PARENT = "GEN3DEXPORT_PARENT"
"""Environment variable: the number of the process that a child is to end with."""
_PR_SET_PDEATHSIG = 1
_TRIES, _PAUSE_S = 100, 0.05


def of_this_process(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child that calls `end_with_parent`."""
    return {**environment, PARENT: str(os.getpid())}


def end_with_parent() -> None:
    """Have Linux kill this process when the one that started it is gone; nothing where no process asked for it.

    Other systems have no such request: there a child ends when its work does.
    """
    parent = os.environ.pop(PARENT, None)  # a child's own children have another parent
    if parent is None:
        return
    import ctypes  # not for every start of the command line

    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if str(os.getppid()) != parent:  # it was gone before
        os.kill(os.getpid(), signal.SIGKILL)


def end_those_at(folder: Path) -> None:
    """Kill this user's processes whose command line names a file of `folder`: compilers of a build that was killed.

    For a folder that no other process works in. Nothing where there is no /proc.
    """
    for _ in range(_TRIES):
        left = [process for process in Path("/proc").glob("[0-9]*") if _names(process, f"{folder}/".encode())]
        if not left:
            return
        for process in left:
            with suppress(OSError):
                os.kill(int(process.name), signal.SIGKILL)
        time.sleep(_PAUSE_S)


def _names(process: Path, folder: bytes) -> bool:
    """Whether a process of this user names a path in a folder on its command line; one that has ended has none."""
    with suppress(OSError):
        return process.stat().st_uid == os.getuid() and folder in (process / "cmdline").read_bytes()
    return False
