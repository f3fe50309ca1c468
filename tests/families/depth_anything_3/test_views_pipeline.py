"""Depth Anything 3 as a family: its contract, whole assets, and the commands on a tiny checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest
from PIL import Image
from tiny_depth import configured
from views_tiny import GOLDEN, checkpoint, picture, recipe

from gen3dexport.models import Request
from gen3dexport.models import depth_anything_3 as family
from gen3dexport.observe import Eager
from gen3dexport.testing import FamilyContract

Cli = Callable[..., tuple[int, str, str]]


class Named(FamilyContract):
    @pytest.fixture(scope="class")
    def name(self) -> str:
        return "depth_anything_3"


class TestOneView(Named):
    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkpoint(tmp_path_factory.mktemp("views"))

    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return {"size": [42, 56], "grid": 32, "cut": 10.0}


class TestThreeViews(Named):
    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkpoint(tmp_path_factory.mktemp("views"))

    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return {"size": 42, "views": 3}


class TestMono(Named):
    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkpoint(tmp_path_factory.mktemp("mono"), "mono")

    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return {"size": 42, "field_of_view": 60.0, "grid": 32, "cut": 10.0}


def _made(folder: Path, image: Any, **knobs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The assets of photographs, and the state that they are made of."""
    settings = family.read_settings(folder, family.Knobs(**knobs), False)
    state = family.begin(settings, Request(image=image), folder, xp)
    (one,) = family.components(settings)
    state = one.advance(state, Eager(one.load(folder)), xp)
    return family.make_assets(state, settings), state


def test_a_view_has_its_photograph_s_size_and_a_camera(tmp_path: Path) -> None:
    assets, state = _made(checkpoint(tmp_path), picture(), size=[42, 70], grid=50, cut=10)
    found = assets["depth_map"]
    assert found.depth.shape == (60, 100) and not found.inverse and not found.metric
    assert found.depth[0, 0] == state["depth"][0, 0, 0, 0] and found.depth[-1, -1] == state["depth"][0, 0, -1, -1]
    assert found.field_of_view == pytest.approx(np.degrees(state["pose"][0, 0, 8]), rel=1e-5)
    assert len(assets["points"].positions) == 30 * 50 and len(assets["mesh"].faces) > 0
    other, _ = _made(tmp_path, picture(), size=[42, 70], field_of_view=60, grid=50, cut=10)
    assert other["depth_map"].field_of_view == 60


def test_bars_narrow_the_field_of_view(tmp_path: Path) -> None:
    assets, state = _made(checkpoint(tmp_path), picture(1, 50, 50), size=[42, 70], grid=20)
    half = np.tan(state["pose"][0, 0, 8] / 2) * 42 / 70
    assert assets["depth_map"].field_of_view == pytest.approx(np.degrees(2 * np.arctan(half)), rel=1e-5)


def test_several_views_are_a_sequence_and_points_of_all(tmp_path: Path) -> None:
    sizes = [(60, 100), (60, 100), (50, 50)]
    every = [picture(k, *size) for k, size in enumerate(sizes)]
    assets, _ = _made(checkpoint(tmp_path), every, size=[42, 70], views=3)
    assert [*assets] == ["depth_map", "sequence", "points"]
    assert [one.depth.shape for one in assets["sequence"].items] == sizes
    assert assets["sequence"].items[0] is assets["depth_map"]
    assert len(assets["points"].positions) == 2 * 42 * 70 + 42 * 42


def test_mono_without_a_camera_gives_the_map_alone(tmp_path: Path) -> None:
    assets, state = _made(checkpoint(tmp_path, "mono"), picture(), size=[42, 70])
    assert [*assets] == ["depth_map"] and assets["depth_map"].field_of_view is None
    sky = state["sky"][0, 0] >= 0.3
    assert 10 < sky.sum() < sky.size - 10
    far = np.quantile(state["depth"][0, 0][~sky], 0.99)
    assert assets["depth_map"].depth.max() <= max(far, state["depth"][0, 0][~sky].max()) * (1 + 1e-6)


def test_the_sky_is_no_surface(tmp_path: Path) -> None:
    assets, state = _made(checkpoint(tmp_path, "mono"), picture(1, 42, 70), size=[42, 70], field_of_view=60, cut=10)
    assert len(assets["points"].positions) == (state["sky"][0, 0] < 0.3).sum()


def test_metres_by_the_focal_length(tmp_path: Path) -> None:
    folder = configured(checkpoint(tmp_path, "mono"), metric=True)
    plain, _ = _made(folder, picture(), size=[42, 70])
    assert not plain["depth_map"].metric
    focal = 35 / np.tan(np.radians(30))
    metric, _ = _made(folder, picture(), size=[42, 70], field_of_view=60)
    assert metric["depth_map"].metric and metric["points"].unit is not None
    np.testing.assert_allclose(metric["depth_map"].depth, plain["depth_map"].depth * focal / 300, rtol=1e-5)


def test_commands(tmp_path: Path, cli: Cli, fast_target: Path) -> None:
    """plan, build, run and parity of the tiny checkpoint, with two views in a folder."""
    weights = checkpoint(tmp_path / "weights")
    path, bundle, scene = recipe(weights, tmp_path / "views-tiny.yaml", 2), tmp_path / "bundle", tmp_path / "scene"
    code, _, err = cli("build", path, "-t", fast_target, "-o", bundle)
    assert code == 0, err
    scene.mkdir()
    for k in range(2):
        Image.fromarray(picture(k)).save(scene / f"{k}.png")
    code, out, err = cli("run", bundle, "--image", scene, "-o", tmp_path / "a.ply", "-o", tmp_path / "a.npz", "--json")
    assert code == 0, err
    assert [row["kind"] for row in json.loads(out)["assets"]] == ["points", "depth_map"]
    code, _, err = cli("run", bundle, "--image", scene / "0.png", "-o", tmp_path / "b.npz")
    assert code == 2 and "1 photographs, and this bundle takes 2" in err
    code, out, err = cli("parity", "depth-anything-3", GOLDEN / "reference_view", "--json")
    assert code == 0 and json.loads(out)["passed"], err
