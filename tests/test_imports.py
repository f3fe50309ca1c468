"""The two doors of heavy imports stay shut: light commands import no torch, jax or executorch."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "jax", "executorch", "onnx", "onnxruntime", "triton", "torchax", "torchao", "transformers", "trimesh")

LIGHT = [
    ["--help"],
    ["ls"],
    ["ls", "schemes"],
    ["show", "trellis-mini"],
    ["plan", "--help"],
    ["verify", "--help"],
    ["build", "--help"],
    ["run", "--help"],
    ["compare", "--help"],
    ["sensitivity", "--help"],
    ["tune", "--help"],
]


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


def test_help_imports_neither_pydantic_nor_numpy() -> None:
    """What `--help` must not wait for, to answer within 0.35 s of a bare Python."""
    code = (
        "import sys, gen3dexport.cli; print([m for m in ('pydantic', 'numpy', 'ruamel', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
