"""Nothing of a user is kept or sent when a bundle's programs run in onnxruntime."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

ALONE = "import onnxruntime"
LOADED = """\
import sys
from pathlib import Path
import numpy as np
from gen3dexport import backends
from gen3dexport.bundle.program import ProgramRecord, TensorSpec

spec = TensorSpec(shape=(2,), dtype="float32")
record = ProgramRecord(name="a", component="a", files=("a.onnx",), inputs={"x": spec}, outputs={"y": spec})
program = backends.find("onnx").load(Path(sys.argv[1]), record)
assert program({"x": np.ones(2, np.float32)})["y"].tolist() == [1, 1]
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A folder with a program that gives back what it takes."""
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "same", [x], [y])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 22)]), tmp_path / "a.onnx")
    return tmp_path


def left(code: str, folder: Path, home: Path) -> list[str]:
    """Files that a process leaves in a home of its own; a build server's variables would switch the telemetry off."""
    home.mkdir()
    own = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], env={**kept, **own}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return sorted(path.name for path in home.rglob("*") if path.is_file())


def test_a_program_keeps_nothing_in_the_users_folders(program: Path, tmp_path: Path) -> None:
    if not left(ALONE, program, tmp_path / "alone"):
        pytest.skip("this onnxruntime keeps nothing when it is imported alone")
    assert left(LOADED, program, tmp_path / "loaded") == []


def test_who_sets_the_variable_has_it_so(program: Path, tmp_path: Path) -> None:
    if not left(ALONE, program, tmp_path / "alone"):
        pytest.skip("this onnxruntime keeps nothing when it is imported alone")
    wanted = 'import os; os.environ["ORT_DISABLE_TELEMETRY"] = "0"\n'
    assert "deviceid" in left(wanted + LOADED, program, tmp_path / "wanted")
