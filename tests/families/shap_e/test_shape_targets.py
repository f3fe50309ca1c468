"""Shap-E through targets: parity of what was written and loaded, and a tiny pipeline built and run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from shape_tiny import GOLDEN, checkpoint, recipe

PACKAGES = {"onnx": "onnxruntime", "executorch": "executorch"}


def _said(*command: object) -> str:
    """What a command says, in a process of its own, for vendors' packages change torch."""
    asked = [sys.executable, "-m", "gen3dexport", *map(str, command)]
    done = subprocess.run(asked, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("target", PACKAGES)
def test_a_tiny_pipeline_is_built_and_run(target: str, tmp_path: Path) -> None:
    pytest.importorskip(PACKAGES[target])
    found = json.loads(_said("parity", "shap-e", GOLDEN / "renderer", "--target", target, "--json"))
    assert found["passed"], found
    path, bundle = recipe(checkpoint(tmp_path / "weights"), tmp_path / "shape-tiny.yaml"), tmp_path / "bundle"
    _said("build", path, "-t", target, "-o", bundle)
    made = _said("run", bundle, "--prompt", "red chair", "--seed", "1", "-o", tmp_path / "a.glb", "--json")
    assert json.loads(made)["assets"][0]["faces"] > 10
