"""V-JEPA 2 through targets: parity of what was written and loaded, and a film's rollout by a bundle."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from v_jepa2_tiny import GOLDEN, checkpoint, film, recipe

from gen3dexport.plan import make_plan, read_recipe, read_target

TARGETS = [("onnx", "onnxruntime"), ("executorch", "executorch")]


def _command(*words: str | Path) -> Any:
    """What a command says, in a process of its own, for vendors' packages change torch."""
    command = [sys.executable, "-m", "gen3dexport", *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("target", "package"), TARGETS)
def test_parity(target: str, package: str) -> None:
    pytest.importorskip(package)
    rows = _command("parity", "v-jepa2", GOLDEN / "predictor_scattered", "--target", target)["outputs"]
    assert {row["output"] for row in rows} == {"last_hidden_state", "predicted", "target"}
    assert max(row["relative"] for row in rows) < 5e-5


@pytest.mark.parametrize(("target", "package"), TARGETS)
def test_a_bundle_s_rollout_is_the_eager_one(target: str, package: str, tmp_path: Path) -> None:
    pytest.importorskip(package)
    path, clip = recipe(checkpoint(tmp_path / "weights"), tmp_path / "v-jepa2-tiny.yaml"), film(tmp_path / "film", 8)
    told = []
    for name in ("eager", target):
        report = _command("build", path, "--target", name, "-o", tmp_path / name)
        assert report["verdict"] == "pass" and any("feature_film" in b["name"] for b in report["budgets"]), report[
            "budgets"
        ]
        made = _command("run", tmp_path / name, "--video", clip, "-o", tmp_path / f"{name}.npz")
        told.append(made["facts"]["rollout"]["moments"])
    assert len(told[0]) == 2
    for one, other in zip(*told, strict=True):
        assert other == pytest.approx(one, rel=1e-4)


@pytest.mark.parametrize("target", ["executorch", "onnx", "cpu-aoti", "tpu-v5e", "cuda-sm90"])
@pytest.mark.parametrize("name", ["v-jepa2-large", "v-jepa2-huge", "v-jepa2-giant"])
def test_recipes_plan(name: str, target: str) -> None:
    resolved = read_target(target)
    plan = make_plan(read_recipe(name, resolved, ["random_weights=true"]), resolved)
    assert [*plan.schemes] == ["encoder", "predictor"]
    assert (plan.settings.frames, plan.settings.known, plan.settings.model.grid) == (16, 4, 16)
