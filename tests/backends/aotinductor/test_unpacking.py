"""Where torch unpacks a package: what is wrong with the folder is told before torch opens a sound package."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gen3dexport.backends.aotinductor.unpacking import require_room
from gen3dexport.errors import MissingError


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "flow.pt2"
    path.write_bytes(bytes(1000))
    return path


def test_a_folder_with_room_is_taken(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(package.parent))
    require_room(package)


@pytest.mark.skipif(not os.statvfs("/proc").f_flag & os.ST_NOEXEC, reason="/proc is not mounted noexec here")
@pytest.mark.parametrize("variable", ["TMPDIR", "TMP", "TEMP", "TEMPDIR"])
def test_a_folder_whose_files_may_not_run(variable: str, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TMPDIR", "TMP", "TEMP", "TEMPDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "/proc/self")
    with pytest.raises(MissingError, match=r"is on /proc, which is mounted noexec.*sound: set TMPDIR=FOLDER"):
        require_room(package)


def test_a_folder_without_room(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(package.parent))
    found = os.statvfs(package.parent)
    os.truncate(package, found.f_bavail * found.f_frsize + 2**30)  # a file of holes
    with pytest.raises(MissingError, match=r"MB free\. The bundle is sound: set TMPDIR=FOLDER"):
        require_room(package)


def test_a_folder_that_is_not_there(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(package.parent / "none"))
    with pytest.raises(MissingError, match=r"none to run it, which cannot be used.*set TMPDIR=FOLDER"):
        require_room(package)
