"""The process that measures a bundle: its errors are those of the command, and its death is one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FRAGILE = """\
import os

from gen3dexport.backends.eager import PACKAGES, REFUSED, SCHEMES, UNSUPPORTED, Options, check, lower, quantize
from gen3dexport.errors import VerificationError


def load(folder, program):
    {load}
"""


@pytest.mark.usefixtures("in_child")
@pytest.mark.parametrize(
    ("load", "message", "expected"),
    [
        ("os._exit(9)", "a program could not be loaded and run (exit 9)", 7),
        ("os.kill(os.getpid(), 9)", "killed by SIGKILL, most likely by the system because memory ran out", 8),
        ("raise VerificationError(f'{program.name}: not a program')", ": not a program", 7),
    ],
    ids=["dies", "is killed", "refuses"],
)
def test_what_happens_there_is_told_here(
    load: str,
    message: str,
    expected: int,
    tiny_recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cli: Callable[..., tuple[int, str, str]],
) -> None:
    (tmp_path / "fragile.py").write_text(FRAGILE.format(load=load))
    (tmp_path / "fragile-1.dist-info").mkdir()
    (tmp_path / "fragile-1.dist-info" / "METADATA").write_text("Name: fragile\nVersion: 1\n")
    (tmp_path / "fragile-1.dist-info" / "entry_points.txt").write_text("[gen3dexport.backends]\nfragile = fragile\n")
    (tmp_path / "fragile.yaml").write_text("name: fragile\nsummary: dies\nbackend: fragile\ndevice: any CPU\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.delitem(sys.modules, "fragile", raising=False)
    code, _, error = cli("build", tiny_recipe, "-t", tmp_path / "fragile.yaml", "-o", tmp_path / "bundle")
    assert code == expected, error
    assert message in error
    assert (tmp_path / "bundle" / "manifest.json").is_file() and not (tmp_path / "bundle" / "report.json").exists()
