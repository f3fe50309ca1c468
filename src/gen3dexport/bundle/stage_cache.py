"""The stage cache: what one component's build made, keyed by everything that went in, so that builds resume."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ValidationError

from gen3dexport.bundle.files import File, FileName, change, digest, file_of, found_in
from gen3dexport.disk import remove
from gen3dexport.documents.caches import cache_folder, private_folder
from gen3dexport.documents.record import Record
from gen3dexport.errors import UsageError

WRITTEN = "files.json"
"""File of an entry with its key, and the size and digest of every other file."""

_PACKAGE = Path(__file__).parents[1]
HARMLESS = (
    *("bundle/__init__.py", "bundle/drafts.py", "bundle/files.py", "bundle/manifest.py", "bundle/report_files.py"),
    *("bundle/notices.py", "bundle/signatures.py"),
    *("bundle/stage_cache.py", "bundle/cache_entries.py"),
    *("making/__init__.py", "making/here.py", "making/orders.py", "making/worker.py"),
    *("making/workers.py", "machine_memory.py", "build.py"),
    *(
        "assets",
        "cli",
        "documents",
        "host_steps",
        "matrix",
        "pages",
        "profiling",
        "registry",
        "reports",
        "runtime",
        "search",
        "testing",
    ),
    *("android", "validation", "web"),
    *("provenance.py", "__main__.py"),
)
"""Rooms and modules whose code changes no entry: what they decide reaches it through the other parts of its key.

Every other module of the package is part of every key, so that a new one cannot be forgotten. `tests/test_stage_cache`
holds this list against what builds import and run."""


class Entry(Record):
    """What an entry says of itself: a copy under another key is none of that key's."""

    key: str
    files: dict[FileName, File]


def folder() -> Path:
    """Where entries lie: `$GEN3DEXPORT_CACHE`, or the user's cache folder."""
    return cache_folder("stages")


def key(parts: Mapping[str, Any], *modules: ModuleType) -> str:
    """Full SHA-256 of `parts` (JSON-able) and of the sources that turn them into programs.

    Args:
        modules: the backend and the family, whose packages are part of the key when they are other people's.
    """
    digests = [digest_of_sources(_PACKAGE), *(digest_of_sources(p) for p in _packages(modules))]
    text = json.dumps({**parts, "sources": digests}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of_sources(package: Path) -> str:
    """Digest of a package's code; of this package's, all that makes programs."""
    lines = (f"{path.relative_to(package.parent)} {digest(path)}\n" for path in sources(package))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def sources(package: Path = _PACKAGE) -> list[Path]:
    """The modules of a package (a folder, or a single module) that are part of a key: for one of this name, all but
    those of the harmless rooms."""
    if package.is_file():
        return [package]
    harmless = [package / name for name in HARMLESS] if package.name == _PACKAGE.name else []
    return sorted(p for p in package.rglob("*.py") if not any(p.is_relative_to(h) for h in harmless))


def _packages(modules: Sequence[ModuleType]) -> list[Path]:
    """Where other packages than this one have these modules."""
    tops = {module.__name__.partition(".")[0] for module in modules} - {_PACKAGE.name}
    found = [sys.modules[top] for top in sorted(tops)]
    return [Path(place) for top in found for place in getattr(top, "__path__", None) or [str(top.__file__)]]


@contextmanager
def in_use() -> Iterator[None]:
    """While a build reads entries; `pruning` waits for no build and disturbs none. Drafts of killed builds go first."""
    with _whole_cache(fcntl.LOCK_SH):
        for draft in folder().glob(".*.draft-*"):
            with suppress(Timeout), _lock(draft.name[1:].partition(".draft-")[0], timeout=0):
                remove(draft)  # no process makes this entry
        yield


@contextmanager
def pruning() -> Iterator[None]:
    """While entries are removed; no build begins before it ends.

    Raises:
        UsageError: when a build is at work.
    """
    try:
        with _whole_cache(fcntl.LOCK_EX | fcntl.LOCK_NB):
            yield
    except BlockingIOError as error:
        raise UsageError(f"{folder()}: a build is using it; prune when that has ended") from error


@contextmanager
def _whole_cache(operation: int) -> Iterator[None]:
    with (private_folder("stages") / ".in-use").open("w") as stream:
        fcntl.flock(stream, operation)  # goes with the stream, also when the process is killed
        yield


@contextmanager
def making(entry_key: str, on_wait: Callable[[], object] = lambda: None) -> Iterator[None]:
    """The one process that may make the entry of that key: another one waits until it is there, or its maker is gone.

    Args:
        on_wait: called once, when there is another one.
    """
    lock = _lock(entry_key)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        on_wait()
        lock.acquire()
    try:
        for draft in folder().glob(f".{entry_key}.draft-*"):
            remove(draft)  # of a killed process, for this one has the lock
        yield
    finally:
        lock.release()


def _lock(entry_key: str, timeout: float = -1) -> FileLock:
    """Held by the process that makes an entry."""
    return FileLock(private_folder("stages") / f".{entry_key}.lock", timeout=timeout)


def find(entry_key: str) -> Path | None:
    """The finished entry of that key, if every file of it is as it was written; marks it as used."""
    path = folder() / entry_key
    try:
        if not (path / WRITTEN).is_file():  # a pipe gives no end
            return None
        entry = Entry.model_validate_json((path / WRITTEN).read_bytes())
        there = {name for name, _ in found_in(path)}
        if entry.key != entry_key or there != {WRITTEN, *entry.files}:
            return None
        if any(change(path, name, listed) for name, listed in entry.files.items()):
            return None
        os.utime(path)
    except (OSError, ValidationError):
        return None
    return path


@contextmanager
def writing(entry_key: str) -> Iterator[Path]:
    """A temporary folder that becomes the entry when the block ends well; one that was there and damaged goes."""
    draft = Path(tempfile.mkdtemp(prefix=f".{entry_key}.draft-", dir=private_folder("stages")))
    try:
        yield draft
        files = {name: file_of(draft / name) for name, _ in sorted(found_in(draft))}
        (draft / WRITTEN).write_text(Entry(key=entry_key, files=files).model_dump_json(), encoding="utf-8")
        remove(folder() / entry_key)
        os.rename(draft, folder() / entry_key)
    finally:
        remove(draft)


def place(source: Path, destination: Path) -> None:
    """Copy a cached file into a bundle (never a link: a bundle must not change with the cache)."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, destination)
