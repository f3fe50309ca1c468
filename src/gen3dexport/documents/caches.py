"""Where this package keeps what it may throw away."""

from __future__ import annotations

import os
import stat
import tempfile
import warnings
from functools import cache
from pathlib import Path

import platformdirs


def cache_folder(kind: str) -> Path:
    """The folder of one kind of entries: in `$GEN3DEXPORT_CACHE`, else in the user's cache folder.

    A user without a home, or whose home cannot be written (a container's arbitrary user id), gets a folder of its own
    in the folder for temporary files, and a warning.
    """
    chosen = os.environ.get("GEN3DEXPORT_CACHE")
    return (Path(chosen) if chosen else _of_user()) / kind


def private_folder(kind: str) -> Path:
    """The folder of one kind of entries, made when it is missing, and closed to other users where it is this one's.

    Raises:
        OSError: when it cannot be made.
    """
    folder = cache_folder(kind)
    make_private(folder)
    found = folder.stat()
    if found.st_uid == os.getuid() and found.st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for this user alone; one that is there stays as it is.

    Raises:
        OSError: when it cannot be made.
    """
    for path in (*reversed([p for p in folder.parents if not p.exists()]), folder):
        path.mkdir(mode=0o700, exist_ok=True)


def _of_user() -> Path:
    try:
        path = Path(platformdirs.user_cache_path("gen3dexport"))
    except RuntimeError:  # neither HOME nor an entry in passwd
        return temporary_folder("this user has no home folder")
    above = next(folder for folder in (path, *path.parents) if folder.exists())
    return path if os.access(above, os.W_OK | os.X_OK) else temporary_folder(f"{path} cannot be made")


@cache
def temporary_folder(reason: str) -> Path:
    """A folder that only this user can read, whoever else writes where temporary files go; warns once that what is
    cached goes there, and why."""
    path = Path(tempfile.gettempdir()) / f"gen3dexport-{os.getuid()}"
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            path = Path(tempfile.mkdtemp(prefix="gen3dexport-"))  # somebody else's: not to be trusted
    except OSError:
        pass  # whoever writes there says so, or goes on without
    warnings.warn(f"{reason}: what is cached goes to {path}; choose a folder with GEN3DEXPORT_CACHE", stacklevel=4)
    return path
