"""The stage cache: what one component's build made, keyed by everything that went in, so that builds resume."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gen3dexport.bundle import digest
from gen3dexport.documents.caches import cache_folder

_PACKAGE = Path(__file__).parents[1]
_BUNDLE = ("bundle/__init__.py", "bundle/provenance.py", "bundle/stage_cache.py")  # its other modules are in entries
HARMLESS = ("assets", *_BUNDLE, "cli", "documents", "pages", "reports", "runtime", "search", "validation")
"""Rooms and modules whose code changes no entry: what they decide reaches it through the other parts of its key.

Every other module of the package is part of every key, so that a new one cannot be forgotten."""


def folder() -> Path:
    """Where entries lie: `$GEN3DEXPORT_CACHE`, or the user's cache folder."""
    return cache_folder("stages")


def key(parts: Mapping[str, Any]) -> str:
    """Full SHA-256 of `parts` (JSON-able) and of the sources that turn them into programs."""
    text = json.dumps({**parts, "sources": sources_digest()}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def sources_digest() -> str:
    """Digest of this package's own code that makes programs: all but the harmless rooms."""
    return hashlib.sha256("".join(f"{p.relative_to(_PACKAGE)} {digest(p)}\n" for p in sources()).encode()).hexdigest()


def sources() -> list[Path]:
    """The package's modules that are part of every key."""
    harmless = [_PACKAGE / name for name in HARMLESS]
    return sorted(p for p in _PACKAGE.rglob("*.py") if not any(p.is_relative_to(h) for h in harmless))


def find(entry_key: str) -> Path | None:
    """The finished entry of that key, if any."""
    path = folder() / entry_key
    return path if (path / "entry.json").is_file() else None


@contextmanager
def writing(entry_key: str) -> Iterator[Path]:
    """A temporary folder that becomes the entry when the block ends well."""
    folder().mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{entry_key[:16]}-", dir=folder()))
    try:
        yield draft
        if find(entry_key) is None:
            shutil.rmtree(folder() / entry_key, ignore_errors=True)
            os.rename(draft, folder() / entry_key)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def place(source: Path, destination: Path) -> None:
    """Copy a cached file into a bundle (never a link: a bundle must not change with the cache)."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, destination)
