"""MoGe-2 on the host: the recovery of focal length and shift, cameras, configurations, requests; whole assets."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest
from moge_tiny import GOLDEN, checkpoint, recipe
from PIL import Image

from gen3dexport.assets.depth_map import DepthMap
from gen3dexport.documents.shipped import shipped
from gen3dexport.errors import UsageError
from gen3dexport.models import Request
from gen3dexport.models import moge_2 as family
from gen3dexport.models.image_preparation import sample_image
from gen3dexport.models.moge_2.host.focal_shift import focal_of, recovered, span
from gen3dexport.models.moge_2.host.geometry import activated, placed
from gen3dexport.models.moge_2.host.picture import published_grid
from gen3dexport.observe import Eager
from gen3dexport.testing import FamilyContract

Cli = Callable[..., tuple[int, str, str]]


class TestContract(FamilyContract):
    @pytest.fixture(scope="class")
    def name(self) -> str:
        return "moge_2"

    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkpoint(tmp_path_factory.mktemp("moge"))

    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return {"size": [42, 56], "grid": 32, "cut": 10.0}


def _scene(height: int, width: int, focal: float, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Points [H, W, 3] of a bent wall, seen with that focal length, `shift` too near; and their depth."""
    wide, high = span(width, height)
    u, v = np.meshgrid(
        wide * (2 * np.arange(width) + 1 - width) / width, high * (2 * np.arange(height) + 1 - height) / height
    )
    depth = 2 + 0.5 * np.sin(3 * u) + 0.3 * v
    return np.stack([u * depth / focal, v * depth / focal, depth - shift], -1), depth


@pytest.mark.parametrize(("height", "width"), [(72, 96), (50, 30)])
@pytest.mark.parametrize(("focal", "shift"), [(1.3, 0.8), (0.6, -1.5), (4.0, 1.4)])
def test_focal_length_and_shift_are_recovered(height: int, width: int, focal: float, shift: float) -> None:
    points, depth = _scene(height, width, focal, shift)
    mask = np.ones((height, width), bool)
    found = recovered(points, mask)
    np.testing.assert_allclose(found, (focal, shift), rtol=1e-4, atol=1e-4)
    assert recovered(points, mask, focal)[1] == pytest.approx(shift, abs=1e-4)
    maps = {"points": points.astype(np.float32), "mask": mask.astype(np.float32)}
    made = placed(maps, *found, 2.0)
    np.testing.assert_allclose(made.depth, 2 * depth, rtol=1e-3)
    np.testing.assert_allclose(made.points[..., :2], 2 * points[..., :2], rtol=1e-3, atol=1e-3)


def test_what_the_mask_leaves_out_does_not_count() -> None:
    points, _ = _scene(64, 64, 1.3, 0.8)
    mask = np.ones((64, 64), bool)
    points[:, 40:], mask[:, 40:] = 100 * np.random.default_rng(0).random((64, 24, 3)), False
    np.testing.assert_allclose(recovered(points, mask), (1.3, 0.8), rtol=1e-4)
    assert recovered(points, np.zeros((64, 64), bool)) == (1.0, 0.0)
    assert recovered(points, np.zeros((64, 64), bool), 2.5) == (2.5, 0.0)


def test_points_all_alike_have_a_finite_answer() -> None:
    for value in (0.0, 1.0):
        found = recovered(np.full((20, 30, 3), value), np.ones((20, 30), bool))
        assert np.isfinite(found).all()


def test_focal_lengths_are_relative_to_half_the_diagonal() -> None:
    assert span(4, 3) == (0.8, 0.6)
    assert focal_of(90, 4, 3) == pytest.approx(0.8)
    maps = {"points": np.ones((3, 4, 3), np.float32), "mask": np.ones((3, 4), np.float32)}
    camera = placed(maps, focal_of(90, 4, 3), 0.0, 1.0).intrinsics
    np.testing.assert_allclose(camera, [[0.5, 0, 0.5], [0, 0.5 * 4 / 3, 0.5], [0, 0, 1]], rtol=1e-6)


def test_published_grids() -> None:
    assert published_grid(1080, 1920, 3600) == (45, 80)
    assert published_grid(70, 90, 12) == (3, 4) and published_grid(60, 40, 6) == (3, 2)


def test_extreme_maps_stay_numbers() -> None:
    raw = {"points": np.full((3, 4, 4), -50, np.float32), "normal": np.zeros((3, 4, 4), np.float32)}
    made = activated(raw | {"mask": np.full((1, 4, 4), -1e4, np.float32)}, 8, 8)
    assert all(np.isfinite(values).all() for values in made.values())
    assert made["mask"].max() == 0 and not made["normal"].any()


def _made(folder: Path, image: np.ndarray, **knobs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The assets of a photograph, and the finished state."""
    settings = family.read_settings(checkpoint(folder), family.Knobs(**knobs), False)
    state = family.begin(settings, Request(image=image), folder, xp)
    (one,) = family.components(settings)
    state = one.advance(state, Eager(one.load(folder)), xp)
    return family.make_assets(state, settings), state


def _photograph(height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(sample_image(1)[..., :3]).resize((width, height)))


def test_assets_have_the_photograph_s_size_and_camera(tmp_path: Path) -> None:
    assets, state = _made(tmp_path, _photograph(60, 80), size=[42, 56], grid=40, cut=10)
    found = assets["depth_map"]
    assert isinstance(found, DepthMap) and found.metric and not found.inverse and found.depth.shape == (60, 80)
    assert state["frame"].tolist() == [0, 0, 42, 56] and found.field_of_view is not None
    seen = np.isfinite(found.depth)
    assert 0.05 < seen.mean() < 1 and (found.depth[seen] > 0).all()
    np.testing.assert_allclose(np.linalg.norm(found.normals[seen], axis=-1), 1, rtol=1e-5)
    assert not found.normals[~seen].any()
    assert len(assets["points"].positions) == np.isfinite(found.depth[1::2, 1::2]).sum()
    known, _ = _made(tmp_path, _photograph(60, 80), size=[42, 56], field_of_view=50)
    assert known["depth_map"].field_of_view == 50


def test_the_span_is_the_photograph_s_with_its_bars(tmp_path: Path) -> None:
    _, wide = _made(tmp_path, _photograph(40, 80), size=[42, 56])
    np.testing.assert_allclose(wide["span"], span(80, 60), rtol=1e-6)
    assert wide["frame"].tolist() == [7, 0, 28, 56] and not wide["image"][:, :, :7].any()
    _, stretched = _made(tmp_path, _photograph(40, 80), size=[42, 56], fit="stretch")
    np.testing.assert_allclose(stretched["span"], span(80, 40), rtol=1e-6)


def test_the_camera_does_not_depend_on_bars() -> None:
    """60 degrees across the photograph, whatever the network saw beside it."""
    for width, whole in ((80, (60, 80)), (80, (60, 120))):
        focal = focal_of(60, width, 40) * math.hypot(width, 40) / math.hypot(*whole)
        assert math.degrees(2 * math.atan(width / (focal * math.hypot(*whole)))) == pytest.approx(60)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("remap_output", "linear", "remap_output"),
        ("neck.resamplers", ["nearest"] * 4, "neck.resamplers"),
        ("neck.res_block_in_norm", "group_norm", "neck.res_block_in_norm"),
        ("neck.dim_in", [16, 2, 2, 2, 2], "neck.dim_in must be encoder.dim_out"),
        ("points_head.dim_in", [1, 2, 3, 4, 5], "points_head.dim_in must be"),
        ("encoder.intermediate_layers", [1, 4], "go beyond the 4 blocks"),
        ("scale_head.dims", [3, 1], "scale_head.dims must begin"),
        ("encoder.backbone_args", None, "encoder.backbone 'tiny' is not one of dinov2_vits14"),
    ],
)
def test_bad_configurations(part: str, value: Any, message: str, tmp_path: Path) -> None:
    path = checkpoint(tmp_path) / "config.json"
    config = json.loads(path.read_text())
    *parents, last = part.split(".")
    (config[parents[0]] if parents else config)[last] = value
    path.write_text(json.dumps(config))
    with pytest.raises(UsageError, match=message):
        family.read_settings(tmp_path, family.Knobs(), False)


@pytest.mark.parametrize(
    ("folder", "message"),
    [("Depth-Anything-V2-Small", "of Depth Anything V2; use the family depth_anything_v2"),
     ("DA3-Small", "of Depth Anything 3; use the family depth_anything_3")],
)  # fmt: skip
def test_configurations_of_other_families_are_named(folder: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        family.read_settings(shipped("weights") / folder, family.Knobs(), True)


def test_bad_requests(tmp_path: Path) -> None:
    settings = family.read_settings(checkpoint(tmp_path), family.Knobs(), False)
    for request, message in (
        (Request(), "image: missing"),
        (Request("a street"), "prompt: this model"),
        (Request(image=np.zeros((1, 9, 3), np.uint8)), "is 9 x 1 pixels"),
        (Request(image=np.zeros((900, 3, 3), np.uint8)), "narrower than a patch"),
    ):
        with pytest.raises(UsageError, match=message):
            family.begin(settings, request, tmp_path, np)
    with pytest.raises(UsageError, match=r"500 is no multiple of the patch \(14\); use 490 or 504"):
        family.read_settings(tmp_path, family.Knobs(size=500), False)
    (tmp_path / "config.json").unlink()
    with pytest.raises(UsageError, match="copy the one of weights/MoGe-2-S"):
        family.read_settings(tmp_path, family.Knobs(), False)


def test_commands(tmp_path: Path, cli: Cli, fast_target: Path) -> None:
    """build, run and parity of the tiny checkpoint."""
    weights = checkpoint(tmp_path / "weights")
    path, bundle, photo = recipe(weights, tmp_path / "moge-tiny.yaml"), tmp_path / "bundle", tmp_path / "photo.png"
    code, _, err = cli("build", path, "-t", fast_target, "-o", bundle)
    assert code == 0, err
    Image.fromarray(_photograph(60, 80)).save(photo)
    out_files = [tmp_path / "a.png", tmp_path / "a.glb"]
    code, out, err = cli("run", bundle, "--image", photo, "-o", out_files[0], "-o", out_files[1], "--json")
    assert code == 0, err
    assert [row["kind"] for row in json.loads(out)["assets"]] == ["depth_map", "mesh"]
    assert all(path.is_file() for path in out_files)
    code, out, err = cli("parity", "moge-2", GOLDEN / "focal_shift", "--json")
    assert code == 0 and json.loads(out)["passed"], err
