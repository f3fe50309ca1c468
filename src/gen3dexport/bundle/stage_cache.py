"""The stage cache: what one component's build made, keyed by everything that went in, so that builds resume."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from gen3dexport.bundle.files import digest
from gen3dexport.documents.caches import cache_folder

_PACKAGE = Path(__file__).parents[1]
HARMLESS = (
    *("bundle/__init__.py", "bundle/drafts.py", "bundle/files.py", "bundle/manifest.py", "bundle/report_files.py"),
    "bundle/stage_cache.py",
    *("assets", "cli", "documents", "pages", "reports", "runtime", "search", "testing", "validation"),
    *("provenance.py", "__main__.py"),
)
"""Rooms and modules whose code changes no entry: what they decide reaches it through the other parts of its key.

Every other module of the package is part of every key, so that a new one cannot be forgotten. `tests/test_stage_cache`
holds this list against what builds import and run."""


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
