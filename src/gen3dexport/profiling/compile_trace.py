"""torch's structured trace of a build's exports and compiles, kept in a folder and rendered there by tlparse.

torch reads `TORCH_TRACE` when it is imported. The log is of this process alone: what validates the bundle, or compiles
kernels beside, has its own and leaves none here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gen3dexport.errors import ExportError, MissingError, UsageError

LOGS = "dedicated_log_torch_trace_*.log"
PAGES = "html"
_VARIABLE = "TORCH_TRACE"


def check(folder: Path) -> None:
    """Refuse, before any work, where a trace cannot be kept or rendered.

    Raises:
        MissingError: without tlparse.
        UsageError: for a folder that has something in it.
    """
    if _tlparse() is None:
        raise MissingError("--trace: tlparse is not installed; run: pip install 'gen3dexport[trace]'")
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UsageError(f"{folder}: is a file, or not empty; name a new folder for --trace")


@contextmanager
def tracing(folder: Path) -> Iterator[None]:
    """While torch, which is imported in this block first, writes its trace into a folder; rendered when the block ends,
    however it does: a trace tells most of a build that failed.

    Raises:
        ExportError: when tlparse cannot read the trace.
    """
    assert "torch" not in sys.modules
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[_VARIABLE] = str(folder.absolute())
    try:
        import torch  # noqa: F401  # reads the variable, which is not for child processes
    finally:
        del os.environ[_VARIABLE]
    try:
        yield
    finally:
        render(folder)


def render(folder: Path) -> Path | None:
    """The pages that tlparse makes of a folder's trace; None where torch traced nothing.

    Raises:
        ExportError: when tlparse cannot read the trace.
    """
    logs = sorted(folder.glob(LOGS), key=lambda log: -log.stat().st_size)
    tool = _tlparse()
    if not logs or tool is None:
        return None
    command = [tool, str(logs[0]), "-o", str(folder / PAGES), "--overwrite", "--no-browser"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        tail = "\n  ".join(done.stderr.strip().splitlines()[-6:])
        raise ExportError(f"{logs[0]}: tlparse cannot read it; the log itself is kept:\n  {tail}")
    return folder / PAGES / "index.html"


def _tlparse() -> str | None:
    """The program, beside this Python or on the path."""
    return shutil.which("tlparse", path=str(Path(sys.executable).parent)) or shutil.which("tlparse")
