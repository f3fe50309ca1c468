"""Packages load in the torch that built them, for every version that `toolchain.CHECKED` names.

The version that is installed here is `test_aotinductor`'s. The others run in environments of their own, whose Pythons
`GEN3DEXPORT_TORCH_<MAJOR>_<MINOR>` name (CONTRIBUTING.md says how to make one); without it a test is skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from gen3dexport.backends.aotinductor.toolchain import CHECKED, installed, release

SCRIPT = Path(__file__).with_name("packages.py")


def variable(version: str) -> str:
    """`GEN3DEXPORT_TORCH_2_11` for 2.11.0."""
    return "GEN3DEXPORT_TORCH_" + "_".join(version.split(".")[:2])


def python_of(version: str) -> str:
    """The Python that has this torch; skips the test when there is none."""
    if variable(version) not in os.environ:
        pytest.skip(f"torch {version} is not installed; set {variable(version)} to a Python that has it")
    return os.environ[variable(version)]


@pytest.mark.parametrize("version", [v for v in CHECKED if v != release(installed("torch") or "")])
def test_a_package_loads_in_the_torch_that_built_it(version: str, tmp_path: Path) -> None:
    python, source = python_of(version), str(Path(__file__).parents[3] / "src")
    environment = {**os.environ, "PYTHONPATH": source, "CUDA_VISIBLE_DEVICES": ""}
    for step in ("build", "load"):  # each in a process of its own: what loads saw no compiler
        command = [python, str(SCRIPT), step, str(tmp_path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert release(found["torch"]) == release(found["built with"]) == version
    assert found["error"] < 2e-5
