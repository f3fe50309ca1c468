"""A bundle that was used before a fork: an error in the child, where threads are missing, and never a hang."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gen3dexport import backends
from gen3dexport.errors import UsageError
from gen3dexport.runtime import LoadedBundle, forks, load

SECONDS = 60


def _in_child(work: Callable[[], object]) -> str:
    """What `work` says in a forked child: the words of its UsageError, or what it was instead."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work()
            said = "worked"
        except UsageError as error:
            said = str(error)
        except BaseException as error:
            said = repr(error)
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    for _ in range(10 * SECONDS):
        if os.waitpid(child, os.WNOHANG)[0]:
            break
        time.sleep(0.1)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    with os.fdopen(reading, encoding="utf-8") as stream:
        return stream.read()


def _use(bundle: LoadedBundle) -> None:
    features = np.random.default_rng(0).standard_normal((11, 48), dtype=np.float32)
    bundle.generate_assets(features=features)


def test_a_bundle_used_before_a_fork_is_refused_in_the_child(tiny_bundle: Path) -> None:
    loaded = load(tiny_bundle)
    _use(loaded)
    for work in (lambda: _use(loaded), lambda: loaded.program(loaded.manifest.programs[0])):
        said = _in_child(work)
        assert "before this process was forked" in said and "Load bundles after the fork" in said
    assert "torch was used before this process was forked" in _in_child(lambda: _use(load(tiny_bundle)))
    _use(loaded)  # the parent goes on


@pytest.mark.parametrize(
    ("name", "waits"), [("executorch", True), ("aotinductor", True), ("xla", True), ("onnx", False)]
)
def test_programs_whose_threads_a_child_lacks(name: str, waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime's threads are those of a session, which a child makes anew; the others' are the process's."""
    monkeypatch.setattr(forks, "_FIRST", {})
    backend = backends.find(name)
    forks.check(Path("bundle"), backend)
    said = _in_child(lambda: forks.check(Path("bundle"), backend))
    assert ("was used before this process was forked" in said) if waits else said == "worked"
