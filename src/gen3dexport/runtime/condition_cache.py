"""Conditions kept: what a bundle's encoder made of a prompt or an image, so that its next asset skips the encoder.

They lie in memory for as long as a bundle is loaded, or on disk. An entry is keyed by SHA-256 of the encoder's program
files and of the bytes of its inputs, neither of which is in it.
Entries that cannot be read, or are not what was written, count as absent and are written anew.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from gen3dexport.backends import Program
from gen3dexport.bundle.program import ProgramRecord
from gen3dexport.disk import write_atomically
from gen3dexport.documents.caches import cache_folder, make_private
from gen3dexport.errors import UsageError

Arrays = Mapping[str, np.ndarray]

_MOST_BYTES = 512 * 2**20
_LEAST_ENTRIES = 8
"""An entry larger than this part of the cache would drive all others out for one prompt."""
_LOCK_SECONDS = 5.0


def folder() -> Path:
    """Where entries lie: `$GEN3DEXPORT_CACHE`, or the user's cache folder."""
    return cache_folder("conditions")


@dataclass(frozen=True)
class ConditionCache:
    """Named arrays by key in a folder, the least recently used thrown away when they take more than `most_bytes`."""

    folder: Path
    most_bytes: int = _MOST_BYTES

    def find(self, key: str) -> dict[str, np.ndarray] | None:
        """The entry of that key, if there is a whole one; marks it as used."""
        path = self._path(key)
        try:
            with safe_open(path, framework="numpy") as entry:
                arrays = {name: entry.get_tensor(name) for name in entry.keys()}  # noqa: SIM118  not a mapping
                written = (entry.metadata() or {}).get("sha256")
            if written != digest(arrays):
                return None
            os.utime(path)
        except (OSError, SafetensorError):
            return None
        return arrays

    def store(self, key: str, arrays: Arrays) -> None:
        """Write an entry whole or not at all; a folder that cannot be written is a warning, for the asset is made."""
        content = save(dict(arrays), {"sha256": digest(arrays)})
        if len(content) > self.most_bytes / _LEAST_ENTRIES:
            return
        try:
            make_private(self.folder)
            write_atomically(self._path(key), content)
            with FileLock(self.folder / ".lock", timeout=_LOCK_SECONDS):
                self._shrink()
        except Timeout:
            return  # whoever holds it is shrinking the folder
        except (OSError, UsageError) as error:
            warnings.warn(f"{self.folder}: conditions cannot be kept there ({error}); --no-cache", stacklevel=2)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def _shrink(self) -> None:
        entries = []
        for path in self.folder.glob("*.safetensors"):
            with suppress(FileNotFoundError):  # `gen3dexport cache prune` removed it meanwhile
                entries.append((path.stat(), path))
        entries.sort(key=lambda e: e[0].st_mtime_ns)
        total = sum(stat.st_size for stat, _ in entries)
        for stat, path in entries:
            if total <= self.most_bytes:
                return
            path.unlink(missing_ok=True)
            total -= stat.st_size


@dataclass(frozen=True)
class LastConditions:
    """The last named arrays by key, in memory: the empty prompt's among them, which every asset needs."""

    most: int = 8
    entries: OrderedDict[str, Arrays] = field(default_factory=OrderedDict)
    lock: Any = field(default_factory=Lock)

    def find(self, key: str) -> Arrays | None:
        """The entry of that key, if it is there; marks it as used."""
        with self.lock:
            if key in self.entries:
                self.entries.move_to_end(key)
            return self.entries.get(key)

    def store(self, key: str, arrays: Arrays) -> None:
        """Keep an entry; the least recently used goes."""
        with self.lock:
            self.entries[key] = arrays
            self.entries.move_to_end(key)
            while len(self.entries) > self.most:
                self.entries.popitem(last=False)


def digest(arrays: Arrays) -> str:
    """SHA-256 of the names, types, shapes and bytes of arrays."""
    found = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


@dataclass(eq=False)
class CachedProgram:
    """An encoder's program that answers from the cache where it can, and is loaded only where it cannot.

    Attributes:
        record: of the program; identity: digest of its files.
        load: gives the program itself; xp: the namespace of its arrays; to_numpy: copies them to the host.
        calls: how often it ran; cached: how often the answer was there.
    """

    record: ProgramRecord
    identity: str
    cache: ConditionCache | LastConditions
    load: Callable[[], Program]
    xp: Any
    to_numpy: Callable[[Mapping[str, Any]], dict[str, np.ndarray]]
    calls: int = 0
    cached: int = 0

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs for these inputs, as arrays of `xp`."""
        key = hashlib.sha256(f"{self.identity} {digest(self.to_numpy(inputs))}".encode()).hexdigest()
        found = self.cache.find(key)
        if found is None or any(name not in found for name in self.record.outputs):
            self.calls += 1
            answer = self.to_numpy(self.load()(inputs))
            found = {name: value.copy() for name, value in answer.items()}  # a runtime may use its memory again
            self.cache.store(key, found)
        else:
            self.cached += 1
        return {name: self.xp.asarray(found[name]) for name in self.record.outputs}
