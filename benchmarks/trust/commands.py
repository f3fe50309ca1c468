"""Commands of this checkout as processes that are watched: how long they take, what they say, what they start."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

COMMAND = [sys.executable, "-m", "gen3dexport"]
MARK = "GEN3DEXPORT_TRUST_MARK"
"""Environment variable that the processes of one round have, whoever is their parent."""
_STAGE = re.compile(r"^(\w+)\s+(\w+)\s+([\d.]+) s$")


@dataclass
class Started:
    """A command that runs.

    Attributes:
        process: of the command; start: when it was started, by the monotonic clock.
        lines: of its stderr, each with the seconds after the start.
    """

    process: subprocess.Popen[str]
    start: float
    lines: list[tuple[float, str]] = field(default_factory=list)
    seconds: float = 0.0
    _reader: threading.Thread | None = None

    def finish(self, timeout: float = 600.0) -> int:
        """Wait for the end; the exit status, minus the signal's number where one ended it."""
        code = self.process.wait(timeout)
        self.seconds = time.monotonic() - self.start
        assert self._reader is not None
        self._reader.join(timeout=2.0)  # children that are left may hold its stderr
        return code

    @property
    def said(self) -> str:
        """All that it wrote to stderr."""
        return "\n".join(line for _, line in list(self.lines))

    def stages(self) -> dict[tuple[str, str], tuple[float, float]]:
        """(component, stage) -> when it began and ended, in seconds after the start; of stages that ended."""
        found = {}
        for at, line in self.lines:
            if match := _STAGE.match(line.strip()):
                found[match[1], match[2]] = (at - float(match[3]), at)
        return found


def start(arguments: Sequence[str], environment: Mapping[str, str], mark: str = "") -> Started:
    """Start `gen3dexport ARGUMENTS`."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        env={**environment, MARK: mark},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    made = Started(process, time.monotonic())

    def read() -> None:
        assert process.stderr is not None
        with suppress(ValueError):
            for line in process.stderr:
                made.lines.append((time.monotonic() - made.start, line.rstrip("\n")))

    made._reader = threading.Thread(target=read, daemon=True)
    made._reader.start()
    return made


def run(arguments: Sequence[str], environment: Mapping[str, str], mark: str = "") -> tuple[int, Started]:
    """Run a command to its end."""
    made = start(arguments, environment, mark)
    return made.finish(), made


def alive(mark: str) -> list[psutil.Process]:
    """Processes with a mark in their environment; those that have ended and wait to be asked for it are none."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def names(processes: Sequence[psutil.Process]) -> list[str]:
    """What processes are called, those that are still there."""
    found = []
    for process in processes:
        with suppress(psutil.Error):
            found.append(process.name())
    return found


def kill(process: psutil.Process | subprocess.Popen[str], number: int) -> None:
    """Send a signal to a process, which may be gone."""
    with suppress(psutil.Error, ProcessLookupError):
        process.send_signal(signal.Signals(number))
