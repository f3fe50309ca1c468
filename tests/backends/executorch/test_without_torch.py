"""The runtimes of ExecuTorch programs without what they do not need, and which of the two runs a program."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lowering import lower

from gen3dexport.backends import executorch
from gen3dexport.bundle.program import ProgramRecord
from gen3dexport.errors import MissingError

pytest.importorskip("executorch.exir")

from gen3dexport.backends.executorch.loading import _other_threads

SCRIPT = """
import sys
sys.modules |= dict.fromkeys(sys.argv[2:])  # whoever imports them gets an ImportError
from pathlib import Path
import numpy as np
from gen3dexport.backends.executorch.loading import load_program
from gen3dexport.bundle.program import ProgramRecord
folder = Path(sys.argv[1])
record = ProgramRecord.model_validate_json((folder / "record.json").read_text())
program = load_program(folder / record.files[0], record, with_torch="torch" not in sys.argv)
inputs = dict(np.load(folder / "inputs.npz"))
program(inputs)
np.savez(folder / "outputs.npz", **program(inputs))
"""


@pytest.mark.parametrize("scheme", ["fp32", "int8-dynamic"])
@pytest.mark.parametrize("absent", [("torch", "executorch"), ("executorch.exir", "torchao")], ids=["torch", "exporter"])
def test_a_runtime_without_what_it_does_not_need_gives_the_same_bytes(
    absent: tuple[str, ...], scheme: str, tmp_path: Path
) -> None:
    if "torch" in absent:
        pytest.importorskip("executorch_numpy_runtime", reason="needs Python 3.12: pip install 'gen3dexport[runtime]'")
    case = lower(executorch, "ss_flow", scheme, tmp_path, shallow=True, min_features=32)
    (tmp_path / "record.json").write_text(case.record.model_dump_json())
    np.savez(tmp_path / "inputs.npz", **case.inputs)
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path), *absent], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    expected = case.program(case.inputs)
    found = np.load(tmp_path / "outputs.npz")
    assert {*found} == {*expected}
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_times_of_other_threads_are_not_the_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    for threads, told in (("8", None), ("", None), ("2", "8 threads, a thread a core, and 2 were asked for")):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        found = _other_threads()
        assert (found is None) if told is None else (found is not None and told in found)


@pytest.mark.parametrize(
    ("here", "runs"),
    [
        ({"executorch": "1.5.1", "executorch-numpy-runtime": "1.4.0"}, "executorch 1.5.1"),
        ({"executorch-numpy-runtime": "1.4.0"}, "executorch-numpy-runtime 1.4.0"),
        ({}, None),
    ],
    ids=["both", "without torch", "none"],
)
def test_the_first_runtime_that_is_installed_runs_programs(
    here: dict[str, str], runs: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def version(name: str) -> str:
        if name not in here:
            raise importlib.metadata.PackageNotFoundError(name)
        return here[name]

    record = ProgramRecord(name="a", component="a", files=("a.pte",), inputs={}, outputs={})
    monkeypatch.setattr(importlib.metadata, "version", version)
    loaded: list[bool] = []
    monkeypatch.setattr(
        "gen3dexport.backends.executorch.loading.load_program",
        lambda path, record, with_torch: loaded.append(with_torch),
    )
    assert executorch.runtime() == runs
    if runs is None:
        with pytest.raises(MissingError, match=r"neither executorch nor .*gen3dexport\[runtime\].*\[executorch\]"):
            executorch.load(tmp_path, record)
    else:
        executorch.load(tmp_path, record)
        assert loaded == [runs.startswith("executorch ")]
