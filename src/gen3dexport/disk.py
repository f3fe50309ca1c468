"""Files that appear whole or not at all, and what went wrong on a disk, in words."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gen3dexport.errors import UsageError

_SCRATCH = "gen3dexport-scratch-"


def check_place(path: Path) -> None:
    """Refuse a place that cannot be written, before any work is done for it; makes nothing.

    Raises:
        UsageError: for a folder, a place in a file, or one without permission.
    """
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name a file, e.g. {path / 'asset.glb'}")
    if _is_special(path):
        if not (path.is_fifo() or path.is_char_device()) or not os.access(path, os.W_OK):
            raise UsageError(f"{path}: is no file and cannot be written like one; name a file")
        return
    path = Path(os.path.realpath(path))  # where a link leads
    folder = next(p for p in path.absolute().parents if p.exists())
    if not folder.is_dir():
        raise UsageError(f"{path}: cannot be written, {folder} is a file; name an output in a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{path}: cannot be written, no permission in {folder}; name an output elsewhere")


def write_output(path: Path, content: bytes) -> None:
    """`content` into a file that a user named: a link is followed, a pipe or a device written to.

    Any other file appears whole or not at all.

    Raises:
        UsageError: when the place cannot be written.
    """
    if not _is_special(path):
        write_atomically(Path(os.path.realpath(path)), content)
        return
    try:
        with path.open("wb", buffering=0) as stream:
            rest = memoryview(content)
            while rest:
                rest = rest[stream.write(rest) or 0 :]
    except OSError as error:
        raise disk_error(error, path) from error


def _is_special(path: Path) -> bool:
    """Whether a path leads to what is there and is neither a file nor a folder."""
    return path.exists() and not path.is_file() and not path.is_dir()


def write_atomically(path: Path, content: bytes) -> None:
    """`content` into `path` through a temporary file beside it, so that no reader sees half of it; replaces a link.

    Raises:
        UsageError: when the place cannot be written.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be written ({error.strerror or error}); "
            "name an output in a folder that you can write to, with space left"
        ) from error
    finally:  # also when interrupted: leave nothing behind
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it; what cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """While no other process is in such a block for that folder. The system ends it with the process."""
    handle = _opened(folder)
    try:
        _lock(handle, wait=True)
        yield
    finally:
        os.close(handle)


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder that goes when the block ends; those that killed processes left go first.

    Its process holds a lock on the folder itself, which the system takes back however the process ends.
    """
    for path in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*"):
        _remove_dead(path)
    folder, handle = _locked()
    owner = os.getpid()
    try:
        yield folder
    finally:
        if os.getpid() == owner:  # not a fork of it
            remove(folder)
        os.close(handle)


def _locked() -> tuple[Path, int]:
    """A new folder and the open file that holds its lock; another process may take it for a dead one's until then."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_SCRATCH))
        with suppress(FileNotFoundError):
            handle = _opened(folder)
            if _lock(handle, wait=False) and folder.is_dir():
                return folder, handle
            os.close(handle)


def _remove_dead(folder: Path) -> None:
    """Remove a scratch folder of this user that no process holds."""
    try:
        handle = _opened(folder)
    except OSError:
        return  # another user's, no folder, or gone
    try:
        if os.fstat(handle).st_uid == os.getuid() and _lock(handle, wait=False):
            remove(folder)
    finally:
        os.close(handle)


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _lock(handle: int, wait: bool) -> bool:
    """Whether this process has the lock of an open folder now."""
    import fcntl  # here, for systems without it import this module too

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _umask() -> int:
    """The process's umask (mkstemp makes files private; an output should have ordinary permissions)."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def mount_of(folder: Path) -> Path:
    """Where the file system of a folder is mounted."""
    place = folder.resolve()
    while not place.is_mount():
        place = place.parent
    return place


def disk_error(error: OSError, path: Path) -> UsageError:
    """A full disk or an unwritable folder, in words."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UsageError(f"{path}: the disk is full; free some space or choose another output with -o")
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return UsageError(f"{path}: cannot be written ({error.strerror}); choose another output with -o")
    return UsageError(f"{error.filename or path}: {error.strerror or error}")
