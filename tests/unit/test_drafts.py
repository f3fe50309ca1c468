"""A bundle's place, whenever the process that writes it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from gen3dexport.bundle import drafts
from gen3dexport.errors import UsageError, VerificationError

WRITER = """\
import os, signal, sys
from pathlib import Path
from gen3dexport.bundle import drafts

out, where = Path(sys.argv[1]), sys.argv[2]
rename = os.rename


def renamed(a, b):
    rename(a, b)
    os.kill(os.getpid(), signal.SIGKILL)


if where == "between renames":
    drafts._exchange = lambda a, b: False
    os.rename = renamed
if where == "after the exchange":
    drafts.remove = lambda path: os.kill(os.getpid(), signal.SIGKILL)
with drafts.writing(out) as draft:
    (draft / "programs").mkdir()
    (draft / "manifest.json").write_text("new")
    if where == "in the block":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder that counts as a bundle."""
    path = tmp_path / "a [bundle]"
    (path / "programs").mkdir(parents=True)
    (path / "manifest.json").write_text("old")
    return path


def _killed(out: Path, where: str) -> None:
    done = subprocess.run([sys.executable, "-c", WRITER, str(out), where])
    assert done.returncode == -signal.SIGKILL


def _left(out: Path) -> list[str]:
    return [p.name for p in out.parent.iterdir() if p.name not in (out.name, f".{out.name}.lock")]


@pytest.mark.parametrize(
    ("where", "text"), [("in the block", "old"), ("between renames", "old"), ("after the exchange", "new")]
)
def test_a_killed_writer_leaves_a_bundle_and_the_next_one_no_draft(where: str, text: str, out: Path) -> None:
    _killed(out, where)
    assert len(_left(out)) >= 1
    if where == "between renames":
        assert not out.exists()
        with pytest.warns(UserWarning, match="killed while it replaced this bundle; the old one is back"):
            drafts.recover(out)
    assert (out / "manifest.json").read_text() == text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with drafts.writing(out) as draft:
            (draft / "manifest.json").write_text("newer")
    assert (out / "manifest.json").read_text() == "newer" and _left(out) == []


def test_the_next_writer_puts_the_old_bundle_back_too(out: Path) -> None:
    _killed(out, "between renames")
    with pytest.warns(UserWarning, match="the old one is back"), pytest.raises(KeyError), drafts.writing(out):
        raise KeyError  # this build fails
    assert (out / "manifest.json").read_text() == "old" and _left(out) == []


def test_dead_drafts_of_other_bundles_go_and_living_ones_stay(out: Path) -> None:
    _killed(out, "in the block")
    other = out.with_name("other")
    with drafts.writing(out.with_name("third")) as living:
        with drafts.writing(other) as draft:
            (draft / "manifest.json").write_text("x")
        assert living.is_dir()
        names = {p.name for p in out.parent.iterdir() if ".draft-" in p.name}
        assert names == {living.name}


def test_folders_are_exchanged_in_one_step(out: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    if not drafts._exchange(out, tmp_path / "b"):
        pytest.skip("this file system cannot exchange two folders")
    assert (tmp_path / "b" / "manifest.json").is_file() and not (out / "manifest.json").exists()
    with pytest.raises(OSError):
        drafts._exchange(out, tmp_path / "nothing")


def test_errors_name_the_bundle_and_not_its_draft(out: Path) -> None:
    with pytest.raises(VerificationError) as raised, drafts.writing(out) as draft:
        raise VerificationError(f"{draft / 'programs'}: damaged")
    assert str(raised.value) == f"{out / 'programs'}: damaged"
    assert (out / "manifest.json").read_text() == "old"


def test_another_thing_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("words")
    with pytest.raises(UsageError, match="not a bundle"), drafts.writing(tmp_path / "precious"):
        pass
    assert os.listdir(tmp_path) == ["precious"]


@pytest.mark.parametrize("marker", ["manifest.json", "site.json", "kit.json"])
def test_files_of_other_programs_under_our_names_are_no_leave_to_replace(marker: str, tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / marker).write_text('{"title": "a web app"}')
    (app / "thesis.txt").write_text("words")
    with pytest.raises(UsageError, match="exists and is not a bundle"), drafts.writing(app, marker):
        pass
    assert sorted(os.listdir(app)) == sorted([marker, "thesis.txt"])
