"""Processes that end when the process that started them does, however that ends.

A child that outlives a killed build measures for nobody, or writes where the next build works.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

PARENT = "GEN3DEXPORT_PARENT"
"""Environment variable: the number of the process that a child is to end with."""
_PR_SET_PDEATHSIG = 1
_TRIES, _PAUSE_S = 100, 0.05
_PIECE = 2**16


def of_this_process(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child that calls `end_with_parent`."""
    return {**environment, PARENT: str(os.getpid())}


class Child:
    """A process that ends with this one, and the end of what it says on its standard output and error.

    A thread waits for it from its start on: Linux ends such a process with the thread that started it, and an
    application's thread may end before the application. What it says is read all the time, so that neither it nor
    memory waits for somebody to look.

    Attributes:
        process: its standard input is a pipe.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], **arguments: Any) -> None:
        """Start it; `arguments` are further ones of `subprocess.Popen`.

        Raises:
            OSError: when it cannot be started.
        """
        self._said = b""
        started: queue.SimpleQueue[subprocess.Popen[bytes] | OSError] = queue.SimpleQueue()
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}

        def work() -> None:
            try:
                process = subprocess.Popen(command, env=of_this_process(environment), **pipes, **arguments)
            except OSError as error:
                started.put(error)
                return
            started.put(process)
            assert process.stdout is not None
            with suppress(OSError, ValueError):
                while piece := os.read(process.stdout.fileno(), _PIECE):
                    self._said = (self._said + piece)[-_PIECE:]
            process.wait()

        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()
        found = started.get()
        if isinstance(found, OSError):
            raise found
        self.process = found

    def said(self, seconds: float = 1.0) -> str:
        """The last of what it said, when it has ended; processes that it started may still have its pipe."""
        self._thread.join(seconds)
        return self._said.decode(errors="replace")


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
