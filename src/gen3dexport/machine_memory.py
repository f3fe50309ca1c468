"""Memory of this machine, or of the container that this process lives in."""

from __future__ import annotations

from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")


def total() -> int:
    """Bytes of memory that this machine, or the container, has."""
    limit = _number("memory.max")
    there = int(psutil.virtual_memory().total)
    return there if limit is None else min(there, limit)


def available() -> int:
    """Bytes that can be had now without swapping."""
    free, limit, used = int(psutil.virtual_memory().available), _number("memory.max"), _number("memory.current")
    if limit is None or used is None:
        return free
    return min(free, limit - used + _reclaimable())


def _number(name: str) -> int | None:
    """A number of this process's container; None where there is none, or no limit."""
    try:
        text = (_CGROUP / name).read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _reclaimable() -> int:
    """Bytes of files that the container's kernel gives back when they are needed."""
    try:
        lines = (_CGROUP / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(value) for name, value in map(str.split, lines) if name in ("inactive_file", "active_file"))
