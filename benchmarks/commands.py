"""Commands of this checkout as processes that are watched: how long they take, what they say, what they start."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TextIO

import psutil

COMMAND = [sys.executable, "-m", "gen3dexport"]
MARK = "GEN3DEXPORT_TRUST_MARK"
"""Environment variable that the processes of one round have, whoever is their parent."""
STAGE = re.compile(r"^(\w+)\s+(\w+)\s+([\d.]+) s$")


class Forked:
    """A copy of this process that runs the command line: a command that need not import torch once more.

    It has what `subprocess.Popen` has and is used here. Call it where no thread of torch was started.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        reading, writing = os.pipe()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._be_the_command(arguments, environment, writing)
        os.close(writing)
        self.stderr: TextIO = os.fdopen(reading, encoding="utf-8", errors="replace")
        self.returncode: int | None = None

    def _be_the_command(self, arguments: Sequence[str], environment: Mapping[str, str], writing: int) -> None:
        code = 70
        try:
            os.dup2(writing, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.environ.clear()
            os.environ.update(environment)
            tempfile.tempdir = None
            sys.argv = ["gen3dexport", *arguments]
            from gen3dexport.cli import main

            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Wait for the end."""
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise TimeoutError(f"process {self.pid} runs for more than {timeout:g} s")
            time.sleep(0.005)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)


@dataclass
class Started:
    """A command that runs.

    Attributes:
        process: of the command; start: when it was started, by the monotonic clock.
        lines: of its stderr, each with the seconds after the start, and the CPU seconds that the process and the
            children which it has waited for had taken.
        seconds, cpu_seconds: of the whole, when it has ended.
    """

    process: subprocess.Popen[str] | Forked
    start: float
    lines: list[tuple[float, float, str]] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    _reader: threading.Thread | None = None

    def finish(self, timeout: float = 600.0) -> int:
        """Wait for the end; the exit status, minus the signal's number where one ended it."""
        before = _of_children()
        code = self.process.wait(timeout)
        self.seconds, self.cpu_seconds = time.monotonic() - self.start, _of_children() - before
        assert self._reader is not None
        self._reader.join(timeout=2.0)  # children that are left may hold its stderr
        return code

    @property
    def said(self) -> str:
        """All that it wrote to stderr."""
        return "\n".join(line for _, _, line in list(self.lines))

    def stages(self) -> dict[tuple[str, str], float]:
        """(component, stage) -> CPU seconds that were taken at its end, in the order in which they ended."""
        matches = [(STAGE.match(line.strip()), cpu) for _, cpu, line in self.lines]
        return {(match[1], match[2]): cpu for match, cpu in matches if match}


def start(arguments: Sequence[str], environment: Mapping[str, str], mark: str = "", fork: bool = False) -> Started:
    """Start `gen3dexport ARGUMENTS`.

    Args:
        mark: of its children, see `alive`.
        fork: as a copy of this process.
    """
    begun, own = time.monotonic(), {**environment, MARK: mark}
    process: subprocess.Popen[str] | Forked
    if fork:
        process = Forked(arguments, own)
    else:
        pipes: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
        process = subprocess.Popen([*COMMAND, *arguments], env=own, **pipes)
    made = Started(process, begun)

    def read() -> None:
        assert process.stderr is not None
        cpu = 0.0
        with suppress(ValueError):
            for line in process.stderr:
                with suppress(psutil.Error):
                    cpu = sum(psutil.Process(process.pid).cpu_times()[:4])
                made.lines.append((time.monotonic() - made.start, cpu, line.rstrip("\n")))

    made._reader = threading.Thread(target=read, daemon=True)
    made._reader.start()
    return made


def run(
    arguments: Sequence[str], environment: Mapping[str, str], mark: str = "", fork: bool = False
) -> tuple[int, Started]:
    """Run a command to its end."""
    made = start(arguments, environment, mark, fork)
    return made.finish(), made


def _of_children() -> float:
    """CPU seconds of all children of this process that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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


def kill(process: psutil.Process | subprocess.Popen[str] | Forked, number: int) -> None:
    """Send a signal to a process, which may be gone."""
    with suppress(psutil.Error, ProcessLookupError):
        process.send_signal(signal.Signals(number))
