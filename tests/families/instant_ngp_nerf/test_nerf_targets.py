"""Radiance fields through targets: parity of what was written and loaded, and a picture of a built bundle."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from nerf_tiny import GOLDEN, checkpoint, recipe

TARGETS = [("onnx", "onnxruntime"), ("executorch", "executorch")]


def _command(*words: object) -> dict[str, object]:
    """What a command says, in a process of its own, for vendors' packages change torch."""
    command = [sys.executable, "-m", "gen3dexport", *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("target", "package"), TARGETS)
def test_rays_agree(target: str, package: str) -> None:
    pytest.importorskip(package)
    result = _command("parity", "instant-ngp-nerf", GOLDEN / "nerfacto", "--target", target)
    assert result["passed"] and len(result["outputs"]) == 13  # type: ignore[arg-type]


@pytest.mark.parametrize(("target", "package"), TARGETS)
def test_a_bundle_makes_pictures(target: str, package: str, tmp_path: Path) -> None:
    """By occupancy: a program of points fills the grid, another one renders rays."""
    pytest.importorskip(package)
    knobs = "{occupancy: true, rays: 128, chunk: 1024, grid: 12, candidates: 32, resolution: 12, views: 2}"
    path = recipe(checkpoint(tmp_path / "weights"), tmp_path / "masked.yaml", knobs)
    _command("build", path, "-t", target, "-o", tmp_path / "bundle", "--skip-validation")
    made = _command("run", tmp_path / "bundle", "-o", tmp_path / "a.gif", "-o", tmp_path / "a.png")
    assert [row["kind"] for row in made["assets"]] == ["sequence", "view"]  # type: ignore[index,union-attr]
    assert (tmp_path / "a.gif").is_file() and (tmp_path / "a.png").is_file()
