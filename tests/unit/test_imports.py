"""The two doors of heavy imports stay shut: light commands import no torch, jax or executorch."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import gen3dexport
import gen3dexport.cli
from gen3dexport.cli.app import COMMANDS

HEAVY = ("torch", "jax", "executorch", "onnx", "onnxruntime", "triton", "torchax", "torchao", "transformers", "trimesh")
HEAVY += ("model_signing", "cryptography", "requests", "packaging.licenses")

LIGHT = [["--help"], ["ls"], ["ls", "schemes"], ["show", "trellis-mini"], *([name, "--help"] for name in COMMANDS)]

SLOW = ("unittest", "asyncio", "scipy", "numpy", "rich", "ruamel", "filelock", "PIL", *HEAVY)
"""What takes longer to import than all that a listing does."""


@pytest.mark.parametrize("arguments", LIGHT, ids=" ".join)
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; sys.argv = ['gen3dexport', *sys.argv[1:]]\n"
        "from gen3dexport.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        f"print('HEAVY', [m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("HEAVY []"), done.stdout[-300:]


@pytest.mark.parametrize("arguments", [["ls"], ["ls", "--json"], ["ls", "targets"]], ids=" ".join)
def test_a_listing_imports_nothing_slow(arguments: list[str]) -> None:
    code = (
        "import sys; sys.argv = ['gen3dexport', *sys.argv[1:]]\n"
        "from gen3dexport.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        f"print('SLOW', [m for m in {SLOW} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("SLOW []"), done.stdout[-300:]


@pytest.mark.parametrize("command", ["plan", "build", "tune", "sensitivity"])
def test_a_wrong_recipe_is_told_without_torch(command: str) -> None:
    code = (
        "import sys; sys.argv = ['gen3dexport', *sys.argv[1:]]\n"
        "from gen3dexport.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert stop.code == 2, stop.code\n"
        "print('TORCH', 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, command, "trellis-minii"], capture_output=True, text=True)
    assert "trellis-minii" in done.stderr and done.stdout.strip() == "TORCH False", done.stderr


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
    assert {path.stem for path in folder.glob("*.py")} == {*COMMANDS, "__init__", "app", "tables", "text_table"}


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
