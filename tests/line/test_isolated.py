"""Programs in a process of their own: the same assets, the same errors, and a crash that ends that process alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from paper_bundle import rewrite

from gen3dexport.assets import kinds
from gen3dexport.disk import scratch
from gen3dexport.errors import ProgramError, UsageError, VerificationError
from gen3dexport.runtime import IsolatedBundle, load, load_isolated

Cli = Callable[..., tuple[int, str, str]]

CRASHING = """\
import os, warnings

import array_api_compat.numpy
import numpy as np

from gen3dexport.backends.eager import PACKAGES, REFUSED, SCHEMES, UNSUPPORTED, Options, check, lower, quantize


class Program:
    xp = array_api_compat.numpy

    def __init__(self, record):
        self.record = record

    def __call__(self, inputs):
        if os.path.exists(os.environ["CRASHES"]):
            with open(os.environ["CRASHES"]) as stream:
                exec(stream.read())
        warnings.warn("it ran")
        return {name: np.ones(spec.shape, spec.dtype) for name, spec in self.record.outputs.items()}


def load(folder, program):
    return Program(program)
"""
"""A backend whose programs end their process on request."""


@pytest.fixture
def crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The code that a call of a program of the backend `crashing` runs, where this file is there."""
    site = tmp_path / "site"
    (site / "crashing-1.dist-info").mkdir(parents=True)
    (site / "crashing.py").write_text(CRASHING)
    (site / "crashing-1.dist-info" / "METADATA").write_text("Name: crashing\nVersion: 1\n")
    (site / "crashing-1.dist-info" / "entry_points.txt").write_text("[gen3dexport.backends]\ncrashing = crashing\n")
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("CRASHES", str(tmp_path / "crash.py"))
    monkeypatch.delitem(sys.modules, "crashing", raising=False)
    return tmp_path / "crash.py"


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """The tiny bundle, its programs' files as they were and its backend the crashing one."""
    made = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    rewrite(made, lambda data: data["target"].update(backend="crashing", options={}))
    return made


@pytest.fixture
def features(tiny_bundle: Path) -> np.ndarray:
    return np.ones(load(tiny_bundle).settings.condition, np.float32)


ENDS = {
    "os.kill(os.getpid(), 11)": (7, "killed by SIGSEGV: its runtime crashed on a program; build the bundle again"),
    "os.abort()": (7, "killed by SIGABRT: its runtime crashed on a program"),
    "os.kill(os.getpid(), 9)": (7, "killed by SIGKILL, most likely by the system because memory ran out"),
    "os.kill(os.getpid(), 4)": (3, "killed by SIGILL: a program uses instructions that this processor lacks"),
    "os._exit(9)": (7, "a program could not be loaded and run (exit 9)"),
    "os.write(1, b'said last\\n'); os.abort()": (7, "said last"),
    "raise MemoryError('9 GiB')": (7, "no asset was made, for memory ran out"),
}


@pytest.mark.parametrize("code", ENDS)
def test_a_program_that_ends_its_process(
    code: str, crash: Path, bundle: Path, features: np.ndarray, tmp_path: Path, cli: Cli
) -> None:
    crash.write_text(code)
    np.save(tmp_path / "features.npy", features)
    out = tmp_path / "asset.glb"
    found, _, error = cli("run", bundle, "--isolate", "--features", tmp_path / "features.npy", "-o", out)
    expected, words = ENDS[code]
    assert (found, words in error, str(bundle) in error) == (expected, True, True), error
    assert not out.exists()


@pytest.mark.usefixtures("in_child")
def test_validation_outlives_a_crash_in_a_call(crash: Path, bundle: Path, cli: Cli) -> None:
    crash.write_text("os.kill(os.getpid(), 11)")
    code, _, error = cli("validate", bundle)
    assert code == VerificationError.exit_code and "killed by SIGSEGV: its runtime crashed on a program" in error


def test_the_next_call_starts_a_process_anew(crash: Path, bundle: Path, features: np.ndarray) -> None:
    with load_isolated(bundle) as loaded:
        crash.write_text("os.abort()")
        for _ in range(2):
            with pytest.raises(ProgramError, match="killed by SIGABRT"):
                loaded.generate_assets(features=features)
        crash.unlink()
        with pytest.warns(UserWarning, match="it ran"):
            made = loaded.generate_assets(features=features)
        assert made["voxels"].occupancy.all()
        first = _process(loaded)
        loaded.generate_assets(features=features)
        assert _process(loaded) == first
        os.kill(first, signal.SIGTERM)
        with pytest.raises(ProgramError, match=r"SIGTERM from outside; no asset was made\. Once more: make the asset"):
            loaded.generate_assets(features=features)
        loaded.load_programs()
        second = _process(loaded)
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


def test_a_bundle_changed_under_a_process_is_told(crash: Path, bundle: Path, features: np.ndarray) -> None:
    loaded = load_isolated(bundle)
    program = next((bundle / "programs").iterdir())
    program.write_bytes(program.read_bytes()[:-1] + b"!")
    with pytest.raises(VerificationError, match="changed after it was loaded"):
        loaded.load_programs()
    loaded.close()
    with pytest.raises(VerificationError, match="changed or damaged"):
        loaded.load_programs()
    with pytest.raises(VerificationError, match="changed or damaged"):
        load_isolated(bundle)


HANGS = """\
import ctypes, time
with open(os.environ["CRASHES"] + ".pid", "w") as stream:
    stream.write(str(os.getpid()))
os.rename(os.environ["CRASHES"] + ".pid", os.environ["CRASHES"] + ".hangs")
ctypes.PyDLL(None).sleep(600)
"""
"""A call into a vendor's library that does not come back and holds Python's lock: no thread of its process runs."""


@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT", "SIGTERM"])
def test_a_command_that_is_stopped_leaves_no_process_and_no_folder(
    how: str, crash: Path, bundle: Path, features: np.ndarray, tmp_path: Path
) -> None:
    crash.write_text(HANGS)
    np.save(tmp_path / "features.npy", features)
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "gen3dexport", "run", bundle, "--isolate", "--features", tmp_path / "features.npy"]
    command += ["-o", tmp_path / "asset.glb"]
    started = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(tmp_path / "tmp")}, start_new_session=True)
    hangs = Path(f"{crash}.hangs")
    assert _within(60, hangs.exists) and started.poll() is None
    child = int(hangs.read_text())
    os.kill(started.pid, signal.Signals[how])
    assert started.wait(10) == (-9 if how == "SIGKILL" else 130)
    assert _within(5, lambda: not _lives(child))
    left = list((tmp_path / "tmp").iterdir())
    assert len(left) == (1 if how == "SIGKILL" else 0)
    tempfile.tempdir = str(tmp_path / "tmp")
    try:
        with scratch() as mine:  # as the next command has one
            assert list((tmp_path / "tmp").iterdir()) == [mine]
    finally:
        tempfile.tempdir = None
    assert not (tmp_path / "asset.glb").exists()


def test_output_without_end_is_no_burden(crash: Path, bundle: Path, features: np.ndarray) -> None:
    crash.write_text("os.write(2, b'first')\nfor _ in range(500): os.write(1, b'x' * 2**16)\nos.abort()")
    with load_isolated(bundle) as loaded:
        assert loaded._opened is not None
        folder = loaded._opened.folder
        with pytest.raises(ProgramError, match="xxx") as error:
            loaded.generate_assets(features=features)
        assert len(str(error.value)) < 2**17 and "first" not in str(error.value)
    assert not folder.exists()


def test_an_application_s_thread_may_end_before_it(crash: Path, bundle: Path, features: np.ndarray) -> None:
    """Linux ends a process with the thread that started it, where it was asked to end it with its parent."""
    loaded: list[IsolatedBundle] = []
    thread = threading.Thread(target=lambda: loaded.append(load_isolated(bundle)))
    thread.start()
    thread.join()
    with pytest.warns(UserWarning, match="it ran"):
        assert loaded[0].generate_assets(features=features)["voxels"].occupancy.all()
    child = _process(loaded[0])
    del loaded[:]  # without `close`
    assert _within(5, lambda: not _lives(child))


def _within(seconds: float, fact: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not fact() and time.monotonic() < end:
        time.sleep(0.02)
    return fact()


def _lives(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_assets_and_errors_are_those_of_this_process(tiny_bundle: Path, features: np.ndarray) -> None:
    here = load(tiny_bundle)
    with load_isolated(tiny_bundle) as there:
        made, expected = there.generate_assets("", 3, features), here.generate_assets("", 3, features)
        assert made.keys() == expected.keys()
        for kind, asset in expected.items():
            arrays, found = kinds.of(kind).arrays(asset), kinds.of(kind).arrays(made[kind])
            assert arrays.keys() == found.keys() and all(np.array_equal(found[k], arrays[k]) for k in arrays)
        for wrong in ({"features": features[:1]}, {"prompt": "a chair"}, {"image": np.zeros((2, 2, 3), np.uint8)}):
            said = []
            for loaded in (here, there):
                with pytest.raises(UsageError) as error:
                    loaded.generate(**wrong)
                said.append(str(error.value))
            assert said[0] == said[1]
        with pytest.raises(UsageError, match="this pipeline has no slat"):
            there.change({"on_overflow": "coarsen"})


def _process(bundle: IsolatedBundle) -> int:
    assert bundle._opened is not None
    return bundle._opened.child.process.pid
