"""Point-E through targets: parity of what was written and loaded, and a tiny pipeline built and run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pointe_tiny import COARSE, DENSER, GOLDEN, checkpoint, recipe

from gen3dexport.models.image_preparation import sample_image

PACKAGES = {"onnx": "onnxruntime", "executorch": "executorch"}


def _said(*command: object) -> str:
    """What a command says, in a process of its own, for vendors' packages change torch."""
    asked = [sys.executable, "-m", "gen3dexport", *map(str, command)]
    done = subprocess.run(asked, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_walk_agrees() -> None:
    pytest.importorskip("onnxruntime")
    found = json.loads(_said("parity", "point-e", GOLDEN / "sampler", "--target", "onnx", "--json"))
    assert found["passed"] and all(row["relative"] < 1e-3 for row in found["outputs"]), found


@pytest.mark.parametrize("target", PACKAGES)
def test_a_tiny_pipeline_is_built_and_run(target: str, tmp_path: Path) -> None:
    pytest.importorskip(PACKAGES[target])
    weights, bundle = checkpoint(tmp_path / "weights"), tmp_path / "bundle"
    path = recipe(weights, tmp_path / "pointe-tiny.yaml", mesh=target == "onnx")  # lowering takes ExecuTorch long
    _said("build", path, "-t", target, "-o", bundle)
    Image.fromarray(sample_image(0)).save(tmp_path / "ball.png")
    made = _said(
        "run", bundle, "--image", tmp_path / "ball.png", "-o", tmp_path / "a.npz", "--kind", "points", "--json"
    )
    assert json.loads(made)["assets"][0]["points"] == COARSE + DENSER
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["positions"].shape == (COARSE + DENSER, 3) and np.abs(arrays["positions"]).max() < 3
