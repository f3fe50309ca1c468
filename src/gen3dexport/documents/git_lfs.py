"""Git LFS pointers: small text files that Git leaves in the places of large ones."""

from __future__ import annotations

from pathlib import Path

from gen3dexport.errors import UsageError

_BEGINS = b"version https://git-lfs.github.com/spec/"


def refuse_pointer(path: Path) -> None:
    """Raises UsageError where the file is a pointer; OSError where it cannot be read."""
    with path.open("rb") as file:
        if file.read(len(_BEGINS)) == _BEGINS:
            raise UsageError(
                f"{path}: a Git LFS pointer, which stands for the file until it is fetched; run `git lfs pull` "
                f"in {path.parent}"
            )
