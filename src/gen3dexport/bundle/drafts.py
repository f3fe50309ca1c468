"""Writing a bundle: a draft beside it that takes its place when it is whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from gen3dexport.disk import disk_error
from gen3dexport.errors import UsageError


@contextmanager
def writing(out: Path) -> Iterator[Path]:
    """A temporary folder that becomes `out` when the block ends well; otherwise `out` stays as it was.

    Raises:
        UsageError: when another build writes `out`, `out` is something else than a bundle, or the disk is full or
            read-only.
    """
    out = out.absolute()
    if out.exists() and not (out / "manifest.json").is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"{out}: exists and is not a bundle; choose another output with -o")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out.parent / f".{out.name}.lock", timeout=0)
        with lock:
            draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.draft-", dir=out.parent))
            draft.chmod(0o755)
            try:
                yield draft
                _replace(draft, out)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    except Timeout as error:
        raise UsageError(f"{out}: another build is writing this bundle; wait for it or choose another -o") from error
    except OSError as error:
        raise disk_error(error, out) from error


def _replace(draft: Path, out: Path) -> None:
    """Put `draft` where `out` is; a bundle that was there goes only when the new one is in place."""
    old = draft.with_name(draft.name + ".old")
    if out.exists():
        os.rename(out, old)
    try:
        os.rename(draft, out)
    except OSError:
        if old.exists():
            os.rename(old, out)
        raise
    shutil.rmtree(old, ignore_errors=True)
