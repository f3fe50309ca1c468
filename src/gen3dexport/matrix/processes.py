"""A command in a process of its own, with what it starts: its log, the memory of all of it, and its end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import psutil

from gen3dexport.children import of_this_process
from gen3dexport.matrix.results import INTERRUPTED

LOOK_S = 1.0
"""Seconds between two looks at its memory."""
_STEP_S = 0.1
_GRACE_S = 15.0
_MOST_WORDS = 600
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code; 128 + N for signal N.
        peak_bytes: the most memory that its processes had together, as far as it was seen.
    """

    code: int
    seconds: float
    peak_bytes: int


def gen3dexport(*arguments: str) -> list[str]:
    """A command of this package's command line, by this Python."""
    return [sys.executable, "-m", "gen3dexport", *arguments]


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    output: BinaryIO,
    errors: BinaryIO,
    stopped: Callable[[], bool] = lambda: False,
    watch: Callable[[int], object] = lambda used: None,
) -> Ended:
    """Run a command until it ends, or until it is to stop: then it is asked to (SIGTERM), and killed when it does not.

    It has a session of its own, so that Ctrl-C in a terminal reaches this process alone; it is killed with this
    thread, however that ends. What it started and left behind is killed with it.

    Args:
        watch: called with the bytes of memory that its processes have.
    """
    begun, looked, peak = time.monotonic(), 0.0, 0
    process = subprocess.Popen(
        command,
        env=of_this_process(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        start_new_session=True,
    )
    try:
        while process.poll() is None:
            if stopped():
                _stop(process)
                break
            if time.monotonic() - looked >= LOOK_S:
                used, looked = memory_of(process.pid), time.monotonic()
                peak = max(peak, used)
                watch(used)
            time.sleep(_STEP_S)
    except BaseException:
        _stop(process)
        raise
    finally:
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)  # what it left behind
    code = process.wait()
    return Ended(code if code >= 0 else 128 - code, time.monotonic() - begun, peak)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it started, with time to clean up."""
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S)
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def memory_of(pid: int) -> int:
    """Bytes of memory that a process and all that it started have; what several share is counted once."""
    with suppress(psutil.Error):
        own = psutil.Process(pid)
        return sum(_bytes_of(process) for process in (own, *own.children(recursive=True)))
    return 0


def _bytes_of(process: psutil.Process) -> int:
    """Proportional set size where the system tells it, else resident memory; 0 for a process that is gone."""
    try:
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return 1024 * int(line.split()[1])
    except (OSError, ValueError):
        pass
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def last_words(log: Path, code: int) -> str:
    """Why a command failed: its error, else the last line that it said; and what killed it."""
    if code == INTERRUPTED:
        return "interrupted"
    try:
        text = _COLOURS.sub("", log.read_bytes().decode(errors="replace"))
    except OSError:
        text = ""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    begins = next((i for i in reversed(range(len(lines))) if lines[i].startswith("error: ")), None)
    said = " ".join(map(str.strip, lines[begins:])) if begins is not None else (lines[-1].strip() if lines else "")
    said = said.removeprefix("error: ")
    if code > 128:
        name = signal.Signals(code - 128).name if code - 128 in {*signal.Signals} else str(code - 128)
        by = f"killed by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")
        said = f"{by}; the last it said: {said}" if said else by
    return said if len(said) <= _MOST_WORDS else f"{said[:_MOST_WORDS]}…"
