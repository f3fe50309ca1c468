"""Depth Anything 3 through targets, two views that attend to each other: parity of what was written and loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from views_tiny import GOLDEN

KEPT = ("in.two.image", "out.two.depth", "out.two.extrinsics")


@pytest.mark.parametrize(("target", "package"), [("onnx", "onnxruntime"), ("executorch", "executorch")])
def test_two_views_agree(target: str, package: str, tmp_path: Path) -> None:
    """In a process of its own, for vendors' packages change torch."""
    pytest.importorskip(package)
    for path in (GOLDEN / "anyview").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(tmp_path / "io.safetensors")
    save_file({key: tensors[key] for key in KEPT}, tmp_path / "io.safetensors")
    command = ["parity", "depth-anything-3", str(tmp_path), "--target", target, "--json"]
    done = subprocess.run([sys.executable, "-m", "gen3dexport", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["outputs"]
    assert {row["output"] for row in rows} == {"two.depth", "two.extrinsics"}
    assert all(row["relative"] < 1e-4 for row in rows)
