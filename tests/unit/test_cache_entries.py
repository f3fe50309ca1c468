"""Entries of the stage cache: a damaged one is not there, one process makes each, and the least recently used goes."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gen3dexport.bundle import cache_entries, stage_cache
from gen3dexport.cli.cache import read_size
from gen3dexport.documents.caches import make_private
from gen3dexport.errors import UsageError

Cli = Callable[..., tuple[int, str, str]]
KEY = "a" * 64


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cold cache of this test."""
    monkeypatch.setenv("GEN3DEXPORT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _made(key: str = KEY, size: int = 1000) -> Path:
    with stage_cache.making(key, pytest.fail), stage_cache.writing(key) as entry:
        (entry / "programs").mkdir()
        (entry / "programs" / "flow.pt2").write_bytes(os.urandom(size))
        (entry / "entry.json").write_text("{}")
    return stage_cache.folder() / key


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


PROGRAM = "programs/flow.pt2"
HARMS: dict[str, Callable[[Path], object]] = {
    "a flipped bit": lambda e: _flip(e / PROGRAM),
    "half a program": lambda e: (e / PROGRAM).write_bytes((e / PROGRAM).read_bytes()[:500]),
    "no program": lambda e: (e / PROGRAM).unlink(),
    "a program more": lambda e: (e / "programs" / "evil.pt2").touch(),
    "a linked program": lambda e: ((e / PROGRAM).rename(e.parent / "x"), (e / PROGRAM).symlink_to(e.parent / "x")),
    "another entry.json": lambda e: (e / "entry.json").write_text("[]"),
    "no entry.json": lambda e: (e / "entry.json").unlink(),
    "half the digests": lambda e: (e / "files.json").write_text((e / "files.json").read_text()[:40]),
    "digests of nothing": lambda e: (e / "files.json").write_text("{}"),
    "no digests": lambda e: (e / "files.json").unlink(),
    "a pipe of digests": lambda e: ((e / "files.json").unlink(), os.mkfifo(e / "files.json")),
    "another entry in its place": lambda e: (shutil.rmtree(e), shutil.copytree(_made("0" * 64), e)),
    "a file in its place": lambda e: (e.rename(e.parent / "x"), e.touch()),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_entry_is_not_there_and_is_made_again(harm: str) -> None:
    entry = _made()
    assert stage_cache.find(KEY) == entry
    HARMS[harm](entry)
    assert stage_cache.find(KEY) is None
    assert stage_cache.find(_made().name) == entry


def test_caches_are_for_their_user_alone(cache: Path, tmp_path: Path) -> None:
    _made()
    make_private(tmp_path / "new" / "conditions")
    for folder in (cache, cache / "stages", tmp_path / "new", tmp_path / "new" / "conditions"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (cache / "stages").chmod(0o755)
    _made("b" * 64)
    assert stat.S_IMODE((cache / "stages").stat().st_mode) == 0o700


MAKER = f"""\
import sys, time
from pathlib import Path
from gen3dexport.bundle import stage_cache

with stage_cache.making("{KEY}", lambda: print("waits", flush=True)):
    if stage_cache.find("{KEY}") is not None:
        print("found")
    else:
        with stage_cache.writing("{KEY}") as entry:
            print("makes", flush=True)
            sys.stdin.readline()
            (entry / "entry.json").write_text("{{}}")
"""


def _start(letter: str = "a") -> subprocess.Popen[str]:
    maker = MAKER.replace(KEY, letter * 64)
    return subprocess.Popen([sys.executable, "-c", maker], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("killed", [False, True])
def test_a_second_build_waits_for_the_first(killed: bool) -> None:
    first = _start()
    assert first.stdout is not None and first.stdout.readline() == "makes\n"
    second = _start()
    assert second.stdout is not None and second.stdout.readline() == "waits\n"
    time.sleep(0.3)
    assert second.poll() is None
    if killed:
        first.kill()
        assert second.stdout.readline() == "makes\n"
        assert len(list(stage_cache.folder().glob(".*.draft-*"))) == 1  # that of the first is gone
    else:
        first.communicate("\n")
    assert second.communicate("\n", timeout=60)[0] == ("" if killed else "found\n")
    assert stage_cache.find(KEY) is not None
    assert not list(stage_cache.folder().glob(".*.draft-*"))


def test_drafts_of_killed_builds_go_whatever_the_next_build_makes() -> None:
    first, second = _start(), _start("b")
    for process in (first, second):
        assert process.stdout is not None and process.stdout.readline() == "makes\n"
    assert len(list(stage_cache.folder().glob(".*.draft-*"))) == 2
    first.kill()
    first.wait()
    with stage_cache.in_use():  # of a build that makes neither entry
        left = [path.name[1:65] for path in stage_cache.folder().glob(".*.draft-*")]
    assert left == ["b" * 64]  # its maker is at work
    second.communicate("\n", timeout=60)
    assert stage_cache.find("b" * 64) is not None


def test_what_goes_while_it_is_listed_is_no_error(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = _made()
    gone = cache / "aotinductor" / "torch" / "flow"
    gone.mkdir(parents=True)
    walk = os.walk

    def compiler(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
        for parent, folders, names in walk(folder):
            yield parent, folders, [*names, "wrapper.o"]  # which was there a moment ago

    monkeypatch.setattr(os, "walk", compiler)
    assert [entry.path for entry in cache_entries.entries() if entry.kind == "stages"] == [kept]
    monkeypatch.setattr(cache_entries, "_children", lambda kind: [gone / "nothing"])
    assert cache_entries.entries() == []


def test_the_least_recently_used_goes_first(cli: Cli, cache: Path) -> None:
    for age, letter in enumerate("abc"):
        os.utime(_made(letter * 64, 100_000), (1e9 - age, 1e9 - age))
    stage_cache.find("c" * 64)  # used, though it was made first
    (stage_cache.folder() / f".{KEY}.draft-x").mkdir()
    (cache / "conditions").mkdir()
    (cache / "conditions" / "x.safetensors").write_bytes(bytes(1000))
    code, out, error = cli("cache", "ls", "--json")
    assert code == 0, error
    kinds = {kind["kind"]: kind for kind in json.loads(out)["kinds"]}
    assert (kinds["stages"]["entries"], kinds["conditions"]["bytes"]) == (3, 1000)
    assert kinds["stages"]["bytes"] >= 300_000
    code, out, _ = cli("cache", "prune", "--max-size", "250kB", "--json")
    assert (code, json.loads(out)["removed"]) == (0, 1)
    assert [e.path.name[0] for e in cache_entries.entries() if e.kind == "stages"] == ["a", "c"]
    assert not list(stage_cache.folder().glob(".*.draft-*"))
    code, out, _ = cli("cache", "prune", "--max-size", "0")
    assert code == 0 and "0 left" in out and cache_entries.entries() == []
    assert cli("cache")[0] == 0


def test_nothing_is_removed_while_a_build_is_at_work(cli: Cli) -> None:
    entry = _made()
    with stage_cache.in_use():
        code, _, error = cli("cache", "prune", "--max-size", "0")
    assert code == UsageError.exit_code and "a build is using it" in error
    assert entry.is_dir()


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("500MB", 5e8), ("1.5 gb", 1.5e9), ("2G", 2e9), ("10k", 1e4), ("7B", 7)]
)
def test_sizes(text: str, size: float) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("arguments", [["prune"], ["prune", "--max-size", "much"], ["prune", "--max-size", "-1"]])
def test_a_size_is_needed(arguments: list[str], cli: Cli) -> None:
    code, _, error = cli("cache", *arguments)
    assert code == UsageError.exit_code and "--max-size" in error


@pytest.mark.parametrize("arguments", [["purge"], ["ls", "--max-size", "1GB"]])
def test_what_it_cannot_do(arguments: list[str], cli: Cli) -> None:
    assert cli("cache", *arguments)[0] == UsageError.exit_code
