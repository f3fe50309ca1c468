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


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny recipe, and a film in `film`."""
    folder = tmp_path_factory.mktemp("v_jepa2")
    recipe(checkpoint(folder / "weights", layers=3), folder / "v-jepa2-tiny.yaml")  # a stack that ExecuTorch stamps
    film(folder / "film", 8)
    return folder


@pytest.fixture(scope="module")
def expected(place: Path) -> list[dict[str, float]]:
    """The rollout of the eager bundle."""
    return _rollout(place, "eager")


def _rollout(place: Path, target: str) -> list[dict[str, float]]:
    """The rollout's moments, by a bundle that passes its budgets."""
    report = _command("build", place / "v-jepa2-tiny.yaml", "--target", target, "-o", place / target)
    assert report["verdict"] == "pass", report["budgets"]
    assert any(budget["name"].startswith("feature_film.") for budget in report["budgets"])
    made = _command("run", place / target, "--video", place / "film", "-o", place / f"{target}.npz")
    moments: list[dict[str, float]] = made["facts"]["rollout"]["moments"]
    return moments


@pytest.mark.parametrize(("target", "package"), TARGETS)
def test_a_bundle_s_rollout_is_the_eager_one(
    target: str, package: str, place: Path, expected: list[dict[str, float]]
) -> None:
    pytest.importorskip(package)
    found = _rollout(place, target)
    assert len(found) == len(expected) == 2
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.parametrize("target", ["executorch", "onnx", "cpu-aoti", "tpu-v5e", "cuda-sm90"])
@pytest.mark.parametrize("name", ["v-jepa2-large", "v-jepa2-huge", "v-jepa2-giant"])
def test_recipes_plan(name: str, target: str) -> None:
    resolved = read_target(target)
    plan = make_plan(read_recipe(name, resolved, ["random_weights=true"]), resolved)
    assert [*plan.schemes] == ["encoder", "predictor"]
    assert (plan.settings.frames, plan.settings.known, plan.settings.model.grid) == (16, 4, 16)
