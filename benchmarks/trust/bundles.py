"""Good bundles to harm, and the command line run in this process."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gen3dexport.errors import Interrupted

FIELDS = ("knobs.sampler.steps=2", "golden.prompts=[a tall chair]", "budgets={}")
"""What makes a bundle of trellis-mini quick to build."""
ALLOWED = (0, 5, 6)
"""Exit codes of a build that leaves a bundle: a missed budget is a result."""


def good(target: str, folder: Path) -> Path:
    """A validated bundle of trellis-mini for a target; one that is there stays."""
    out = folder / f"trellis-mini-{target}"
    if not (out / "report.json").is_file():
        command = [sys.executable, "-m", "gen3dexport", "build", "trellis-mini", "-t", target, "-o", str(out), *FIELDS]
        code = subprocess.run(command, stdout=subprocess.DEVNULL).returncode
        if code not in ALLOWED:
            raise SystemExit(f"{target}: the build ended with {code}")
    return out


@dataclass(frozen=True)
class Done:
    """How a command ended.

    Attributes:
        code: its exit code; below 0 the signal that ended its process.
        said: both of its outputs; crash: its traceback, "" without one.
        seconds: of CPU time: how long it takes, whatever else the machine does.
    """

    code: int
    said: str
    crash: str
    seconds: float


class _TooLong(BaseException):
    """A command took longer than it may."""


def here(*arguments: str | Path, limit: float = 60.0) -> Done:
    """The command line in this process, through its own entry, for so many seconds at most."""
    from gen3dexport.cli import main

    said, crash, code = io.StringIO(), "", 0
    start = time.process_time()
    with _alone(*map(str, arguments)), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            with _alarm(limit):
                main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0
        except _TooLong:
            crash = f"took longer than {limit:g} s"
        except BaseException:
            crash = traceback.format_exc()
    if code == Interrupted.exit_code:
        raise KeyboardInterrupt
    return Done(code, said.getvalue(), crash, time.process_time() - start)


def child(*arguments: str | Path, limit: float = 120.0) -> Done:
    """The command line in a process of its own."""
    start = _of_children()
    command = [sys.executable, "-m", "gen3dexport", *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=limit)
    except subprocess.TimeoutExpired:
        return Done(0, "", f"took longer than {limit:g} s", limit)
    said = done.stdout + done.stderr
    crash = said if "Traceback (most recent call last)" in said or done.returncode < 0 else ""
    return Done(done.returncode, said, crash, _of_children() - start)


def _of_children() -> float:
    """CPU seconds of the processes that this one started and that have ended."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


@contextlib.contextmanager
def _alone(*arguments: str) -> Iterator[None]:
    """What the command line does with its arguments, signals and warnings goes when it ends."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before, form, sys.argv = sys.argv, warnings.formatwarning, ["gen3dexport", *arguments]
    try:
        yield
    finally:
        sys.argv, warnings.formatwarning = before, form
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(number: int, frame: object) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def linked(bundle: Path, copy: Path) -> Path:
    """A copy of a folder whose files are hard links: harm a file by another one in its place, never in place."""
    for parent, _, names in os.walk(bundle):
        place = copy / Path(parent).relative_to(bundle)
        place.mkdir(parents=True)
        for name in names:
            os.link(Path(parent, name), place / name)
    return copy
