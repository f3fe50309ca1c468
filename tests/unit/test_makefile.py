"""The Makefile refuses a Python that the packages are not for, and leaves nothing of it behind."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PRETENDS = """\
#!{python}
import pathlib, sys
sys.version_info = ({version}, 0, "final", 0)
if sys.argv[1] == "-c":
    exec(sys.argv[2])
else:
    pathlib.Path("called").write_text(" ".join(sys.argv[1:]))
    sys.exit(9)  # what comes after is no matter of this test
"""


@pytest.mark.parametrize(("version", "taken"), [("3, 10", False), ("3, 11", True), ("3, 12", True), ("3, 13", False)])
def test_a_python_is_refused_before_anything_is_made(version: str, taken: bool, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(root / name, tmp_path)
    python = tmp_path / "python"
    python.write_text(PRETENDS.format(python=sys.executable, version=version))
    python.chmod(0o755)
    done = subprocess.run(["make", f"PYTHON={python}", "demo"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode
    assert not (tmp_path / ".venv").exists()
    if taken:
        assert (tmp_path / "called").read_text() == "-m venv .venv"
    else:
        assert not (tmp_path / "called").exists()
        name = version.replace(", ", ".")
        assert f"Python {name}: needs 3.11 or 3.12; run: make PYTHON=python3.12 demo" in done.stderr


def test_an_environment_of_another_python_is_told(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parents[2] / "Makefile", tmp_path)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PRETENDS.format(python=sys.executable, version="3, 13"))
    python.chmod(0o755)
    done = subprocess.run(["make", "demo"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode and not (tmp_path / "called").exists()
    assert ".venv is of that Python: remove it first" in done.stdout
