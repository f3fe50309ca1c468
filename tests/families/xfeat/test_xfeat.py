"""XFeat as a family: golden parity, masks, sampling, true depths, the contract, requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file, save_file
from xfeat_tiny import GOLDEN, KNOBS, checkpoint, published

from gen3dexport.errors import UsageError
from gen3dexport.models import Request, xfeat
from gen3dexport.models.xfeat.host.keypoints import Keypoints, assigned, heat_of, nearest_neighbours
from gen3dexport.models.xfeat.host.pipeline import given
from gen3dexport.models.xfeat.host.sampling import bicubic, bilinear, nearest, places
from gen3dexport.models.xfeat.host.settings import FEATURES, MATCHER, RELEASED
from gen3dexport.models.xfeat.networks.loading import features, matcher
from gen3dexport.models.xfeat.networks.network import XFeat
from gen3dexport.plan import read_recipe
from gen3dexport.testing import FamilyContract
from gen3dexport.validation.parity import compare


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("xfeat"))


class TestContract(FamilyContract):
    @pytest.fixture(scope="class")
    def name(self) -> str:
        return "xfeat"

    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkpoint(tmp_path_factory.mktemp("xfeat"))

    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return dict(KNOBS)


def test_the_published_networks_agree() -> None:
    published()
    result = compare("real-weights", GOLDEN / "xfeat", None, "fp32", None)
    assert result["passed"], result
    rows = {row["output"]: row["max_abs"] for row in result["outputs"]}
    exact = {name for name in rows if name.endswith((".keypoints", ".matches"))}
    assert len(exact) == 5 and not any(rows[name] for name in exact)
    assert "lighterglue_full.log_assignment" in rows and "fine_matcher" in rows


def test_true_depths_and_their_scores(tmp_path: Path) -> None:
    """Of the golden set; and a wrong expectation fails."""
    result = compare("real-weights", GOLDEN / "depth_eval", None, "fp32", None)
    assert result["passed"] and len(result["outputs"]) == 15
    for name in ("config.json", "meta.json"):
        (tmp_path / name).write_bytes((GOLDEN / "depth_eval" / name).read_bytes())
    tensors = load_file(GOLDEN / "depth_eval" / "io.safetensors")
    save_file({**tensors, "out.sub.ls_scale": tensors["out.sub.ls_scale"] * 1.01}, tmp_path / "io.safetensors")
    assert not compare("real-weights", tmp_path, None, "fp32", None)["passed"]


def test_the_recipe_is_of_the_published_files() -> None:
    assert read_recipe("xfeat").weights == RELEASED


@pytest.mark.parametrize(("ours", "mode"), [(nearest, "nearest"), (bilinear, "bilinear"), (bicubic, "bicubic")])
def test_sampling_is_torchs(ours: Any, mode: str) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((3, 7, 9)).astype(np.float32)
    points = np.stack([rng.integers(0, 72, 200), rng.integers(0, 56, 200)], 1).astype(np.float32)
    grid = torch.from_numpy(2 * (points / np.array([71, 55], np.float32)) - 1)[None, None]
    expected = F.grid_sample(torch.from_numpy(values)[None], grid, mode=mode, align_corners=False)[0, :, 0].T
    np.testing.assert_allclose(ours(values, places(points, (56, 72), (7, 9))), expected.numpy(), atol=1e-5)


def test_heat_is_of_pixels() -> None:
    logits = np.full((65, 2, 3), -20, np.float32)
    logits[64] = 0
    logits[8 * 3 + 5, 1, 2] = 20  # row 3, column 5 of the cell at row 1, column 2
    heat = heat_of(logits)
    assert heat.shape == (16, 24) and np.unravel_index(heat.argmax(), heat.shape) == (8 + 3, 16 + 5)


def test_neighbours_are_mutual_and_assignments_certain() -> None:
    axes = np.eye(4, dtype=np.float32)
    assert nearest_neighbours(axes[[0, 1, 2]], axes[[2, 0]]).tolist() == [[0, 1], [2, 0]]
    near = np.array([[0.6, 0.8, 0, 0]], np.float32)
    assert not len(nearest_neighbours(near, axes[[1]], 0.82)) and len(nearest_neighbours(near, axes[[1]], 0.7))
    pairs, probability = assigned(np.log(np.array([[0.7, 0.2], [0.6, 0.05]], np.float32)), 0.1)
    assert pairs.tolist() == [[0, 0]] and probability == pytest.approx([0.7])
    assert assigned(np.zeros((0, 5), np.float32), 0.1)[0].shape == (0, 2)


def test_padding_changes_nothing(weights: Path) -> None:
    rng = np.random.default_rng(0)

    def some(count: int) -> Keypoints:
        descriptors = rng.standard_normal((count, 64)).astype(np.float32)
        return Keypoints(rng.uniform(0, 60, (count, 2)).astype(np.float32), np.ones(count, np.float32), descriptors)

    left, right, network = some(7), some(9), matcher(weights)
    found = []
    for count in (9, 20):
        inputs = given(left, right, (64, 96), count)
        with torch.no_grad():
            found.append(network(*map(torch.from_numpy, inputs.values())).numpy()[0, :7, :9])
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


def test_the_copy_in_the_matchers_file_is_not_read(weights: Path, tmp_path: Path) -> None:
    state = torch.load(weights / f"{MATCHER}.pt", weights_only=True)
    assert any(name.startswith("extractor.") for name in state) and not list(tmp_path.iterdir())
    with pytest.raises(UsageError, match=r"xfeat\.pt: not found"):
        xfeat.read_settings(tmp_path, xfeat.Knobs(), False)
    torch.save({k: v for k, v in state.items() if "to_v" not in k}, tmp_path / f"{MATCHER}.pt")
    with pytest.raises(UsageError, match=r"missing transformers\.0\.cross_attn\.to_v"):
        matcher(tmp_path)
    broken = XFeat().state_dict()
    broken["skip1.1.bias"][0] = torch.nan
    torch.save(broken, tmp_path / f"{FEATURES}.pt")
    with pytest.raises(UsageError, match="NaN"):
        features(tmp_path)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(), "image: missing"),
        (Request("x"), "prompt: this model matches two pictures"),
        (Request(features=np.zeros((1, 2), np.float32)), "features: this model takes pictures"),
        (Request(image=np.zeros((4, 5, 3), np.uint8)), "5 pixels wide, which is no two pictures"),
    ],
)
def test_requests_that_it_cannot_take(weights: Path, request_: Request, message: str) -> None:
    settings = xfeat.read_settings(weights, xfeat.Knobs(**KNOBS), False)
    with pytest.raises(UsageError, match=message):
        xfeat.begin(settings, request_, weights, xp)


def test_matches_are_points_in_space() -> None:
    """Three pixels in the left picture, 4 and 16 pixels further left in the right one, and one that matches nothing."""
    settings = xfeat.Settings(height=64, width=128, keypoints=8)
    left = np.array([[10, 20], [63.5, 31.5], [100, 60]], np.float32)
    right = np.array([[47.5, 31.5], [6, 20]], np.float32)
    colors = np.zeros((64, 128, 3), np.uint8)
    colors[20, 10] = 9, 8, 7
    matches = np.array([[0, 1], [1, 0]])
    state = {"left_points": left, "right_points": right, "matches": matches, "colors": colors}
    points = xfeat.make_assets(state, settings)["points"]
    expected = [[(10 - 63.5) / 128, -4 / 128, (31.5 - 20) / 128], [0, -16 / 128, 0]]
    np.testing.assert_allclose(points.positions, expected, atol=1e-6)
    assert points.colors[0].tolist() == [9, 8, 7]


def test_knobs_are_multiples_of_32() -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        xfeat.Knobs(height=100)
    assert json.loads(xfeat.Settings().model_dump_json())["keypoints"] == 1024
