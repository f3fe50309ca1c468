"""Where torch unpacks a package: what is wrong with the folder is told before torch opens a sound package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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


MOUNTED = (
    'mount -t tmpfs -o "$1" none "$2" && TMPDIR="$2/inside" && export TMPDIR && mkdir "$2/inside" && shift 2 && "$@"'
)


@pytest.mark.parametrize(
    ("options", "reason"), [("noexec", "is mounted noexec"), ("size=4096", "MB free")], ids=["noexec", "full"]
)
def test_the_mount_is_named(options: str, reason: str, package: Path) -> None:
    apart = ["unshare", "--mount", "--map-root-user", "--user"]
    if shutil.which("unshare") is None or subprocess.run([*apart, "true"], capture_output=True).returncode:
        pytest.skip("this user may not mount a file system of its own")
    package.write_bytes(bytes(2**20))
    place = package.parent / "mounted"
    place.mkdir()
    code = "import sys, pathlib; from gen3dexport.backends.aotinductor.unpacking import require_room as f; "
    command = [sys.executable, "-c", code + "f(pathlib.Path(sys.argv[1]))", str(package)]
    done = subprocess.run(
        [*apart, "sh", "-c", MOUNTED, "sh", options, str(place), *command], capture_output=True, text=True
    )
    assert done.returncode == 1
    error = done.stderr.splitlines()[-1]
    assert "MissingError" in error and str(package) in error and "sound: set TMPDIR=FOLDER" in error
    assert f"into {place}/inside to run it, which is on {place}, which " in error and reason in error


@pytest.mark.parametrize("variable", ["TMPDIR", "TMP", "TEMP", "TEMPDIR"])
def test_every_variable_that_torch_asks_is_asked(variable: str, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TMPDIR", "TMP", "TEMP", "TEMPDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "/none")
    with pytest.raises(MissingError, match="into /none to run it"):
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
