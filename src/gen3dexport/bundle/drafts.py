"""Writing a bundle: a draft beside it that takes its place when it is whole, whenever a process is killed.

.NAME.lock                 held by the build that writes NAME
.NAME.draft-XXXXXXXX       what it writes; of no use to anybody when the lock is free
.NAME.draft-XXXXXXXX.old   the bundle that was there, for the moment between two renames

The last one is only seen where a file system cannot exchange two folders in one step.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from gen3dexport.bundle.report_files import MANIFEST
from gen3dexport.disk import disk_error, remove
from gen3dexport.errors import GenExportError, UsageError

_DRAFT = re.compile(r"\.(?P<name>.+)\.draft-[a-z0-9_]{8}(?P<old>\.old)?", re.DOTALL)
_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)


@contextmanager
def writing(out: Path, marker: str = MANIFEST, what: str = "bundle") -> Iterator[Path]:
    """A temporary folder that becomes `out` when the block ends well; otherwise `out` stays as it was.

    What killed builds left in the folder around `out` is put back or removed first. Errors of the block that name the
    draft name `out` instead.

    Args:
        marker: the file that says that a folder is such an output, which may be replaced; what: its name in errors.

    Raises:
        UsageError: when another build writes `out`, `out` is something else than a bundle, or the disk is full or
            read-only.
    """
    out = out.absolute()
    recover(out)
    check_out(out, marker, what)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with _lock(out):
            for path in out.parent.iterdir():
                if (found := _DRAFT.fullmatch(path.name)) is not None:
                    _remove_dead(path, found["name"], out)
            draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.draft-", dir=out.parent))
            draft.chmod(0o755)
            try:
                yield draft
                _replace(draft, out)
            except GenExportError as error:
                raise renamed(error, draft, out) from error
            finally:
                remove(draft)
    except Timeout as error:
        raise UsageError(f"{out}: another build is writing this {what}; wait for it or choose another -o") from error
    except OSError as error:
        raise disk_error(error, out) from error


def check_out(out: Path, marker: str = MANIFEST, what: str = "bundle") -> None:
    """Refuse an output that is there and is neither a bundle (a folder with a `marker` of ours) nor an empty folder.

    Raises:
        UsageError: for such an output.
    """
    out = out.absolute()
    if out.exists() and not _is_ours(out, marker) and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"{out}: exists and is not a {what}; choose another output with -o")


def _is_ours(out: Path, marker: str) -> bool:
    """Whether gen3dexport wrote the marker: other programs have files of these names (a web app its manifest.json)."""
    path = out / marker
    try:
        return path.is_file() and (b"gen3dexport" in path.read_bytes() or (out / "programs").is_dir())
    except OSError:
        return False


def recover(out: Path) -> None:
    """Put a bundle back that a killed build had moved aside, and warn of it; nothing where there is a bundle."""
    out = out.absolute()
    if os.path.lexists(out) or not out.parent.is_dir():
        return
    aside = [p for p in out.parent.iterdir() if (m := _DRAFT.fullmatch(p.name)) and m["name"] == out.name and m["old"]]
    for path in sorted(aside, key=lambda p: p.stat().st_mtime)[-1:]:
        try:
            with _lock(out):
                os.rename(path, out)
        except (Timeout, OSError):
            return  # a build is at work, or nothing can be written: there is no bundle here
        warnings.warn(f"{out}: a build was killed while it replaced this bundle; the old one is back", stacklevel=3)


def renamed(error: GenExportError, draft: Path, out: Path) -> GenExportError:
    """The error with the name of the bundle where it had that of its draft."""
    return type(error)(str(error).replace(str(draft), str(out)))


def _lock(out: Path) -> FileLock:
    return FileLock(out.parent / f".{out.name}.lock", timeout=0)


def _remove_dead(draft: Path, name: str, out: Path) -> None:
    """Remove a draft whose build is gone, for no process holds its lock; that of `out` is held by this one."""
    if name == out.name:
        remove(draft)
        return
    if draft.suffix == ".old" and not os.path.lexists(out.with_name(name)):
        return  # the only copy of a bundle: the next command on it puts it back
    try:
        with _lock(out.with_name(name)):
            remove(draft)
    except (Timeout, OSError):
        return


def _replace(draft: Path, out: Path) -> None:
    """Put `draft` where `out` is; a bundle that was there goes only when the new one is in place."""
    if not os.path.lexists(out):
        os.rename(draft, out)
    elif not _exchange(draft, out):
        old = draft.with_name(draft.name + ".old")
        os.rename(out, old)
        try:
            os.rename(draft, out)
        except OSError:
            os.rename(old, out)
            raise
        remove(old)


def _exchange(a: Path, b: Path) -> bool:
    """Exchange two folders in one step; False where the kernel or the file system cannot."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(_HERE, os.fsencode(a), _HERE, os.fsencode(b), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(b))
