"""The two doors of heavy imports stay shut: light commands import no torch, jax or executorch."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import gen3dexport
import gen3dexport.cli
from gen3dexport.cli.app import COMMANDS, module_name

HEAVY = ("torch", "jax", "executorch", "onnx", "onnxruntime", "triton", "torchax", "torchao", "transformers", "trimesh")
HEAVY += ("model_signing", "cryptography", "requests", "packaging.licenses")

LIGHT = [["--help"], ["ls"], ["ls", "schemes"], ["show", "trellis-mini"], *([name, "--help"] for name in COMMANDS)]

SLOW = ("unittest", "asyncio", "scipy", "numpy", "rich", "ruamel", "filelock", "PIL", *HEAVY)
"""What takes longer to import than all that a listing does."""


CODE = """
import contextlib, io, json, sys
from gen3dexport.cli import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["gen3dexport", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
    print(json.dumps([code, out.getvalue(), err.getvalue(), sorted(sys.modules)]))
"""


def run_in_one_process(commands: Sequence[Sequence[str]]) -> list[tuple[int, str, str, set[str]]]:
    """Of each command its exit status, what it says, and every module that it or one before it has imported.

    What none of them imports is in no list; what one imports is in its list and in all that follow.
    """
    done = subprocess.run([sys.executable, "-c", CODE, json.dumps(commands)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return [(code, out, err, {*modules}) for code, out, err, modules in rows]


def test_light_commands_import_nothing_heavy() -> None:
    found = run_in_one_process(LIGHT)
    assert len(found) == len(LIGHT)
    for arguments, (code, out, error, modules) in zip(LIGHT, found, strict=True):
        assert code == 0 and out, (arguments, error)
        assert not modules & {*HEAVY}, arguments


def test_a_listing_imports_nothing_slow() -> None:
    for code, out, error, modules in run_in_one_process([["ls"], ["ls", "--json"], ["ls", "targets"]]):
        assert code == 0 and out, error
        assert not modules & {*SLOW}


def test_a_wrong_recipe_is_told_without_torch() -> None:
    commands = [[command, "trellis-minii"] for command in ("plan", "build", "tune", "sensitivity")]
    for code, _, error, modules in run_in_one_process(commands):
        assert code == 2 and "trellis-minii" in error
        assert "torch" not in modules


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["build", "trellis-mini", "--out", "."], "exists and is not a bundle"),
        (["tune", "trellis-mini", "--max-loss", "-1"], "--max-loss"),
        (["sensitivity", "trellis-mini", "--component", "flw"], "--component flw: unknown; did you mean 'flow"),
        (["sensitivity", "trellis-mini", "--scheme", "int7"], "--scheme int7: not here"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_arguments_are_told_before_any_work(
    arguments: list[str], told: str, cli: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gen3dexport.plan.require_ready", lambda plan: pytest.fail("work was begun"))
    code, out, error = cli(*arguments)
    assert (code, out) == (2, "") and told in " ".join(error.split())


def test_every_command_is_a_module_of_its_name() -> None:
    folder = Path(gen3dexport.cli.__file__).parent
    shared = {"__init__", "app", "tables", "text_table", "time_left"}
    assert {path.stem for path in folder.glob("*.py")} == {*map(module_name, COMMANDS), *shared}


def test_help_cuts_no_summary_and_writes_metavars_in_capitals(
    monkeypatch: pytest.MonkeyPatch, cli: Callable[..., tuple[int, str, str]]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = cli("--help")
    assert code == 0
    for name, summary in COMMANDS.items():
        assert f"  {name:11}  {summary}\n" in out
        code, told, _ = cli(name, "--help")
        usage = told.partition("\n\n")[0]
        assert code == 0 and "[[" not in usage and "list[Path]" not in told, told
        assert not re.search(r"[\[{][a-z]", usage), usage


def test_the_package_is_run_as_a_module_too() -> None:
    done = subprocess.run([sys.executable, "-m", "gen3dexport", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{gen3dexport.__version__}\n")


def test_help_imports_neither_pydantic_nor_numpy() -> None:
    """What `--help` must not wait for, to answer within 0.35 s of a bare Python."""
    code = (
        "import sys, gen3dexport.cli; print([m for m in ('pydantic', 'numpy', 'ruamel', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
