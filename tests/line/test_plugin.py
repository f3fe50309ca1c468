"""A package that adds a family and a backend, installed by pip: contracts, a build and an asset."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gen3dexport.bundle.manifest import read_manifest

PLUGIN = Path(__file__).parents[1] / "plugin"
RECIPE = """\
schema: 2
name: ball
summary: a ball
family: sphere
weights: {weights}
knobs: {{resolution: 24}}
golden: {{prompts: [ball]}}
components:
  field: {{scheme: int8-dynamic}}
budgets:
  relative_l2: 1.0e-3
  scores: {{voxels: {{iou: 0.95}}, mesh: {{f_score: 0.95}}}}
"""
TARGET = "name: here\nsummary: torch.export\nbackend: exported\ndevice: any CPU\nmeasure: {warmup: 0, runs: 1}\n"

Python = Callable[..., str]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Python:
    """Run Python where the package is installed: its output."""
    folder = tmp_path_factory.mktemp("installed")
    source = shutil.copytree(PLUGIN, folder / "source")  # setuptools leaves its work beside the sources
    pip = ("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation")
    subprocess.run([sys.executable, *pip, "--target", folder / "site", source], check=True, timeout=300)
    places = [str(folder / "site"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in places if p)}

    def run(*arguments: str | Path) -> str:
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    return run


def test_it_keeps_the_contracts(python: Python, tmp_path: Path) -> None:
    options = ("-q", "-p", "no:cacheprovider", "--noconftest", "--rootdir", tmp_path, "-c", os.devnull)
    out = python("-m", "pytest", *options, PLUGIN / "contracts.py")
    assert "passed" in out and "failed" not in out
    assert ", 1 skipped" in out  # it declares no host steps


def test_it_is_listed_built_and_run(python: Python, tmp_path: Path) -> None:
    made = f"from pathlib import Path; write_checkpoint(Path({str(tmp_path / 'weights')!r}))"
    python("-c", f"from tiny_gen3d.sphere.network import write_checkpoint; {made}")
    (tmp_path / "ball.yaml").write_text(RECIPE.format(weights=tmp_path / "weights"))
    (tmp_path / "here.yaml").write_text(TARGET)
    command, bundle = ("-m", "gen3dexport"), tmp_path / "bundle"
    assert "sphere" in python(*command, "ls", "families")
    python(*command, "build", tmp_path / "ball.yaml", "-t", tmp_path / "here.yaml", "-o", bundle)
    manifest = read_manifest(bundle)
    assert (manifest.family, manifest.target["backend"], manifest.components) == ("sphere", "exported", ("field",))
    asset = tmp_path / "ball.npz"
    python(*command, "run", bundle, "--prompt", "ball", "--set", "radius=0.25", "--kind", "voxels", "-o", asset)
    occupancy = np.load(asset)["occupancy"]
    assert occupancy.shape == (24, 24, 24)
    change = 0.1 * np.random.default_rng(0).random()
    volume = 4 / 3 * np.pi * (0.25 + change) ** 3
    assert occupancy.mean() == pytest.approx(volume, rel=0.1)
