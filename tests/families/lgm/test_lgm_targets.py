"""L4GM through targets, frames that attend to each other: parity of what was written and loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from lgm_tiny import GOLDEN
from safetensors.torch import load_file, save_file

KEPT = ("in.images", "out.gaussians")


@pytest.mark.parametrize(("target", "package"), [("onnx", "onnxruntime"), ("executorch", "executorch")])
def test_frames_agree(target: str, package: str, tmp_path: Path) -> None:
    """In a process of its own, for vendors' packages change torch."""
    pytest.importorskip(package)
    for path in (GOLDEN / "l4gm").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(tmp_path / "io.safetensors")
    save_file({key: tensors[key] for key in KEPT}, tmp_path / "io.safetensors")
    command = ["parity", "lgm", str(tmp_path), "--target", target, "--json"]
    done = subprocess.run([sys.executable, "-m", "gen3dexport", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["outputs"]
    assert row["output"] == "gaussians" and row["relative"] < 5e-4
