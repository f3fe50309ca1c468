"""Files of a folder that is trusted by digests: their names, sizes and SHA-256, and what was changed since."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field

from gen3dexport.documents.record import Record


class File(Record):
    """Size and SHA-256 of a file."""

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


def _inside(name: str) -> str:
    """`name`, when it is a plain path below the folder that it is relative to.

    Raises:
        ValueError: when it is absolute, climbs out, or is written as another system or another hand would.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{name!r} lies outside the bundle")
    plain = name.isprintable() and "\\" not in name and ":" not in name and path.as_posix() == name != "."
    if not plain:
        raise ValueError(f"{name!r} is no plain relative path")
    return name


FileName = Annotated[str, AfterValidator(_inside)]
"""A relative POSIX path that stays inside its folder."""


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_of(path: Path) -> File:
    """Size and digest of a file."""
    return File(bytes=path.stat().st_size, sha256=digest(path))


def change(folder: Path, name: str, listed: File, where: str = "the manifest") -> str | None:
    """What is wrong with a file, or None when it is as listed; only a file of the right size is read.

    Args:
        where: what lists it, for the words.
    """
    path = folder / name
    try:
        mode, size = path.lstat().st_mode, path.lstat().st_size
    except OSError:
        return f"{name}: missing"
    if stat.S_ISLNK(mode) or path.resolve() != folder.resolve() / name:
        return f"{name}: a link; a bundle has none"
    if not stat.S_ISREG(mode):
        return f"{name}: not a regular file"
    if size != listed.bytes:
        return f"{name}: {size} bytes, {where} says {listed.bytes}"
    try:
        same = digest(path) == listed.sha256
    except FileNotFoundError:  # removed just now
        return f"{name}: missing"
    return None if same else f"{name}: SHA-256 differs from {where}'s"


def found_in(folder: Path) -> Iterator[tuple[str, int]]:
    """Name and mode of everything below a folder that is no folder itself; links are not followed."""
    for parent, folders, names in os.walk(folder):
        for name in (*names, *folders):
            path = Path(parent, name)
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:
                continue  # removed just now: a validation renames its files, a build removes the bundle that was here
            if not stat.S_ISDIR(mode):
                yield path.relative_to(folder).as_posix(), mode
