"""Where caches lie for users with and without a home."""

from __future__ import annotations

import os
import pwd
import stat
import warnings
from pathlib import Path

import pytest

from gen3dexport.documents import caches


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder for temporary files of a user whose cache folder nothing names."""
    for name in ("GEN3DEXPORT_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    caches.temporary_folder.cache_clear()
    return tmp_path


@pytest.fixture
def homeless(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That of a user id without HOME and without an entry in passwd."""

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    return scratch


def test_the_folder_that_the_environment_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GEN3DEXPORT_CACHE", str(tmp_path))
    assert caches.cache_folder("stages") == tmp_path / "stages"


def test_a_user_s_own_cache_folder(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(scratch))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert caches.cache_folder("stages") == scratch / ".cache" / "gen3dexport" / "stages"
    assert list(scratch.iterdir()) == []


def test_without_a_home_it_is_a_private_temporary_folder_with_one_warning(homeless: Path) -> None:
    with pytest.warns(UserWarning, match="no home folder.*GEN3DEXPORT_CACHE") as told:
        first = caches.cache_folder("stages")
        assert caches.cache_folder("conditions").parent == first.parent
    assert len(told) == 1
    assert first == homeless / f"gen3dexport-{os.getuid()}" / "stages"
    assert stat.S_IMODE(first.parent.stat().st_mode) == 0o700


def test_a_home_that_cannot_be_written(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/dev/null")
    with pytest.warns(UserWarning, match="/dev/null/.cache/gen3dexport cannot be made"):
        assert caches.cache_folder("stages").is_relative_to(scratch)


@pytest.mark.parametrize("kind", ["open to others", "link", "file"])
def test_a_folder_of_that_name_that_others_made_is_not_used(kind: str, homeless: Path) -> None:
    path = homeless / f"gen3dexport-{os.getuid()}"
    if kind == "open to others":
        path.mkdir()
        path.chmod(0o777)
    elif kind == "link":
        (homeless / "elsewhere").mkdir(mode=0o700)
        path.symlink_to(homeless / "elsewhere")
    else:
        path.touch()
    with pytest.warns(UserWarning):
        found = caches.cache_folder("stages").parent
    assert found != path and found.is_dir() and not found.is_symlink()
    assert stat.S_IMODE(found.stat().st_mode) == 0o700


def test_a_folder_of_one_s_own_is_used_again(homeless: Path) -> None:
    path = homeless / f"gen3dexport-{os.getuid()}"
    path.mkdir(mode=0o700)
    with pytest.warns(UserWarning):
        assert caches.cache_folder("stages").parent == path
