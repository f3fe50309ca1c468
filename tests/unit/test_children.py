"""Children end with the process that started them, and what killed processes left is found."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from gen3dexport import children
from gen3dexport.disk import scratch

CHILD = """\
import os, time
from gen3dexport.children import PARENT, end_with_parent

end_with_parent()
assert PARENT not in os.environ
print(os.getpid(), flush=True)
time.sleep(60)
"""
PARENT = f"""\
import os, subprocess, sys
from gen3dexport.children import of_this_process

subprocess.run([sys.executable, "-c", {CHILD!r}], env=of_this_process(os.environ))
"""
HOLDER = """\
import sys, time
from gen3dexport.disk import scratch

with scratch() as folder:
    (folder / "unpacked").mkdir()
    (folder / "unpacked" / "flow.so").write_bytes(bytes(1000))
    print(folder, flush=True)
    time.sleep(60)
"""


def _gone(pid: int) -> bool:
    """Whether a process ends within seconds (a zombie that nobody waits for has ended)."""
    for _ in range(100):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                time.sleep(0.05)
                continue
        return True
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="a request of Linux")
def test_a_child_ends_with_its_killed_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    os.kill(child, 0)  # is there
    parent.kill()
    parent.wait()
    assert _gone(child)


@pytest.mark.parametrize("command", [["-c", CHILD], ["-m", "gen3dexport", "--version"]], ids=["child", "command"])
def test_a_child_whose_parent_was_gone_before_it_asked(command: list[str]) -> None:
    environment = {**os.environ, children.PARENT: "1"}  # not this process, which started it
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL and done.stdout == b""


def test_compilers_that_a_killed_build_left_are_ended(tmp_path: Path) -> None:
    folder, other = tmp_path / "flow", tmp_path / "flow2"
    started = [
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", str(place / "wrapper.cpp")])
        for place in (folder, other)
    ]
    try:
        while any(b"wrapper.cpp" not in Path(f"/proc/{process.pid}/cmdline").read_bytes() for process in started):
            time.sleep(0.01)  # the system has started a program before it says of what
        children.end_those_at(folder)
        assert started[0].wait(timeout=10) == -signal.SIGKILL
        assert started[1].poll() is None
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_scratch_folders_of_killed_processes_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    killed, living = (
        subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True) for _ in range(2)
    )
    try:
        dead, alive = (Path(process.stdout.readline().strip()) for process in (killed, living) if process.stdout)
        killed.kill()
        killed.wait()
        assert dead.is_dir()
        (tmp_path / "gen3dexport-scratch-file").touch()  # somebody else's, and no folder
        with scratch() as own, scratch() as second:
            names = {path.name for path in (alive, own, second)}
            assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == names
        assert [path for path in tmp_path.iterdir() if path.is_dir()] == [alive]
        assert (alive / "unpacked" / "flow.so").is_file()
    finally:
        for process in (killed, living):
            process.kill()
            process.wait()
