"""A whole `run` of an ONNX bundle where there is no torch: nothing on its way imports it, or a package of builds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY_RECIPE

from gen3dexport.build import build
from gen3dexport.cli.app import plan_of

pytest.importorskip("onnxruntime", reason="needs the extra: pip install 'gen3dexport[onnx]'")

BUILDING = ("torch", "torchao", "onnx", "onnxscript", "transformers", "executorch", "jax")
SCRIPT = f"""
import sys
for name in {BUILDING}:
    sys.modules[name] = None  # whoever imports it gets an ImportError
from gen3dexport.cli import main
sys.argv = ["gen3dexport", "run", *sys.argv[1:], "--json"]
main()
"""


def test_an_asset_is_made_without_torch(tiny_weights: Path, tmp_path: Path) -> None:
    recipe, bundle, asset = tmp_path / "tiny.yaml", tmp_path / "bundle", tmp_path / "asset.npz"
    recipe.write_text(TINY_RECIPE.format(weights=tiny_weights))
    build(plan_of(str(recipe), "onnx", ["golden.assets=false", "golden.prompts=[one]"]), bundle)
    features = np.random.default_rng(0).standard_normal((11, 48)).astype(np.float32)
    np.save(tmp_path / "features.npy", features)
    words = [str(bundle), "--features", str(tmp_path / "features.npy"), "-o", str(asset), "--no-cache"]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert said["runtime"].startswith("onnxruntime ") and said["assets"][0]["path"] == str(asset)
