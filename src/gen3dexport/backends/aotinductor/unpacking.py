"""Where torch unpacks a package to run it, checked first: what goes wrong there looks like a damaged package."""

from __future__ import annotations

import os
from pathlib import Path

from gen3dexport.disk import mount_of
from gen3dexport.errors import MissingError

_VARIABLES = ("TMPDIR", "TMP", "TEMP", "TEMPDIR")  # in the order in which torch's C++ asks


def require_room(package: Path) -> None:
    """Check that the folder takes the package's files and lets them run.

    Raises:
        MissingError: when it is not there, is mounted noexec or has too little space.
    """
    folder = Path(next(filter(None, map(os.environ.get, _VARIABLES)), "/tmp"))
    needed = package.stat().st_size
    try:
        found = os.statvfs(folder)
    except OSError as error:
        reason = f"cannot be used ({error.strerror})"
    else:
        free = found.f_bavail * found.f_frsize
        if found.f_flag & getattr(os, "ST_NOEXEC", 0):
            reason = f"is on {mount_of(folder)}, which is mounted noexec"
        elif free < needed:
            reason = f"is on {mount_of(folder)}, which has {free / 1e6:.1f} MB free"
        else:
            return
    raise MissingError(
        f"{package}: torch unpacks it into {folder} to run it, which {reason}. The bundle is sound: set TMPDIR=FOLDER, "
        f"a folder where programs may run, with {needed / 1e6:.1f} MB free"
    )
