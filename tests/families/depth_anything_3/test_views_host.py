"""Depth Anything 3 on the host: photographs and their sizes, cameras, sky, settings, requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest
from PIL import Image
from tiny_depth import configured
from views_tiny import checkpoint, picture

from gen3dexport.errors import UsageError
from gen3dexport.models import Request
from gen3dexport.models import depth_anything_3 as family
from gen3dexport.models.depth_anything_3.host import cameras
from gen3dexport.models.depth_anything_3.host.byte_resizing import area, resized
from gen3dexport.models.depth_anything_3.host.model import parse_model, read_model
from gen3dexport.models.depth_anything_3.host.picture import frame, pixels, published, sizes
from gen3dexport.models.depth_anything_3.host.settings import Settings
from gen3dexport.models.depth_anything_3.host.sky import nested, with_sky
from gen3dexport.models.depth_anything_3.host.views import in_world
from gen3dexport.models.photograph import Frame

WEIGHTS = Path(__file__).parents[3] / "weights"


def _settings(folder: Path, kind: str = "anyview", **knobs: Any) -> Settings:
    return family.read_settings(checkpoint(folder, kind), family.Knobs(**knobs), False)


@pytest.mark.parametrize(
    ("photo", "first", "last"),
    [
        ((1080, 1920), (284, 504), (280, 504)),  # 283.5 is rounded to even
        ((480, 640), (378, 504), (378, 504)),
        ((640, 480), (504, 378), (504, 378)),
        ((500, 741), (340, 504), (336, 504)),
        ((504, 7), (504, 7), (504, 14)),
    ],
)
def test_published_sizes(photo: tuple[int, int], first: tuple[int, int], last: tuple[int, int]) -> None:
    assert sizes(*photo, 504) == (first, last)


def test_edges_in_the_middle_of_two_multiples_go_up_or_are_cut() -> None:
    assert sizes(100, 100, 35, "lower") == ((35, 35), (42, 42))
    assert sizes(100, 100, 35, "lower", "crop") == ((35, 35), (28, 28))


def test_areas_are_means_of_what_is_covered() -> None:
    one = np.array([[0, 10, 20], [30, 40, 50]], np.uint8)[..., None]
    assert area(one, (1, 1)).item() == 25
    assert area(one, (2, 2))[0, :, 0].tolist() == [3, 17]  # (0 + 10 / 2) / 1.5
    assert resized(one, (2, 3)) is one


def test_a_crop_moves_the_camera(tmp_path: Path) -> None:
    camera = np.array([[100.0, 0, 50], [0, 100, 40], [0, 0, 1]])
    made, moved = published(picture(0, 80, 100), 56, "upper", "crop", camera)
    assert made.shape == (42, 56, 3) and moved is not None  # 44.8 rounds to 45, cut to 42 from row 1 on
    np.testing.assert_allclose(moved, [[56, 0, 28], [0, 56.25, 21.5], [0, 0, 1]], rtol=1e-6)


def test_photographs_of_other_shapes_lie_between_bars() -> None:
    assert frame(1080, 1920, (280, 504), "letterbox") == Frame(0, 0, 280, 504)
    place = frame(50, 50, (42, 70), "letterbox")
    assert place == Frame(0, 14, 42, 42)
    made = pixels(picture(0, 50, 50), (42, 70), place)
    assert made.shape == (3, 42, 70) and not made[:, :, :14].any() and not made[:, :, 56:].any()
    assert frame(50, 50, (42, 70), "stretch") == Frame(0, 0, 42, 70)


def test_poses_and_matrices_are_inverse() -> None:
    rng = np.random.default_rng(0)
    q = rng.normal(size=(20, 4))
    q = q / np.linalg.norm(q, axis=-1, keepdims=True) * np.where(q[:, 3:] < 0, -1, 1)
    pose = np.concatenate([rng.normal(size=(20, 3)), q, rng.uniform(0.3, 2, (20, 2))], -1)
    extrinsics, intrinsics = cameras.matrices(pose, (42, 70))
    whole = np.concatenate([extrinsics, np.tile([[[0, 0, 0, 1]]], (20, 1, 1))], 1)
    np.testing.assert_allclose(cameras.poses(whole, intrinsics, (42, 70)), pose, atol=2e-6)
    longer = pose.copy()
    longer[:, 3:7] *= 3  # a quaternion's length says nothing
    np.testing.assert_allclose(cameras.matrices(longer, (42, 70))[0], extrinsics, atol=1e-6)
    np.testing.assert_allclose(
        extrinsics[:, :, :3] @ extrinsics[:, :, :3].swapaxes(1, 2), np.tile(np.eye(3), (20, 1, 1)), atol=1e-6
    )


def test_cameras_are_brought_to_the_first() -> None:
    views = np.tile(np.eye(4), (3, 1, 1))
    views[:, 0, 3] = [1, 3, 7]
    found = cameras.relative(views)
    np.testing.assert_allclose(found[:, 0, 3], [0, 1, 3])  # 0, 2 and 6, of which 2 is the middle
    views[:, 0, 3] = [1, 1.01, 1.02]
    np.testing.assert_allclose(cameras.relative(views)[:, 0, 3], [0, 0.1, 0.2])


def test_sky_is_far_where_there_is_enough_of_it() -> None:
    depth = np.arange(100, dtype=np.float32).reshape(10, 10)
    sky = np.zeros((10, 10), np.float32)
    sky[0, :10] = 1
    assert with_sky(depth, sky) is depth  # ten pixels are too few
    sky[1, 0] = 0.3
    made = with_sky(depth, sky)
    rest = depth[sky < 0.3]
    assert (made[sky >= 0.3] == np.float32(np.quantile(rest, 0.99))).all() and (made[sky < 0.3] == rest).all()


def test_two_models_as_one() -> None:
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 4, (2, 8, 9)).astype(np.float32)
    camera = np.tile(np.diag([150.0, 150.0, 1.0]), (2, 1, 1)).astype(np.float32)
    moved = rng.normal(size=(2, 3, 4)).astype(np.float32)
    sky = np.zeros_like(depth)
    sky[:, 0] = 1
    made = nested(depth, np.ones_like(depth), moved, camera, 5 * depth, sky)
    assert made.scale == pytest.approx(2.5)
    np.testing.assert_allclose(made.depth[:, 1:], 2.5 * depth[:, 1:], rtol=1e-6)
    assert (made.depth[:, 0] == np.float32(np.quantile(2.5 * depth[:, 1:], 0.99))).all()
    np.testing.assert_allclose(made.extrinsics, moved * [1, 1, 1, 2.5], rtol=1e-6)


def test_points_of_views_meet() -> None:
    """Two cameras side by side see one wall at the same places."""
    depth = np.full((2, 4, 6), 2.0, np.float32)
    moved = np.tile(np.eye(3, 4), (2, 1, 1))
    moved[1, 0, 3] = -1  # a unit to the right
    camera = np.tile([[6.0, 0, 3], [0, 6, 2], [0, 0, 1]], (2, 1, 1))
    found = in_world(depth, moved, camera, np.zeros((2, 4, 6, 3), np.uint8), np.ones((2, 4, 6), bool))
    places = found.positions.reshape(2, 4, 6, 3)
    np.testing.assert_allclose(places[1, :, :3], places[0, :, 3:], atol=1e-6)
    assert np.abs(found.positions).max() == pytest.approx(0.5) and (places[..., 0] < 0).all()


BAD_REQUESTS: list[tuple[dict[str, Any], int, str]] = [
    ({}, 1, "image: missing"),
    ({"prompt": "a street"}, 1, "prompt: this model makes depth of a photograph alone"),
    ({"image": "/nowhere.png"}, 1, "/nowhere.png: not a readable image"),
    ({"image": np.zeros((1, 1, 3), np.uint8)}, 1, "is 1 x 1 pixels"),
    ({"image": np.zeros((2000, 3, 3), np.uint8)}, 1, "narrower than a patch of 14"),
    ({"image": picture()}, 2, "1 photographs, and this bundle takes 2 of a scene at once"),
    ({"image": [picture()] * 3}, 2, "3 photographs, .* knobs.views=3"),
    ({"image": [picture()] * 2}, 1, "2 photographs, and this bundle takes 1"),
    ({"prompt": "x", "image": [picture()] * 2}, 2, "prompt: this model"),
]


@pytest.mark.parametrize(("asked", "views", "message"), BAD_REQUESTS)
def test_bad_requests(asked: dict[str, Any], views: int, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        family.begin(_settings(tmp_path, views=views), Request(**asked), tmp_path, np)


def test_views_come_as_a_list_an_array_or_a_folder(tmp_path: Path) -> None:
    settings = _settings(tmp_path / "weights", views=2, size=[42, 70])
    folder = tmp_path / "scene"
    folder.mkdir()
    every = [picture(1), picture(2)]
    for name, one in zip("ab", every, strict=True):
        Image.fromarray(one).save(folder / f"{name}.png")
    (folder / ".hidden").write_text("")
    states = [family.begin(settings, Request(image=one), tmp_path, xp) for one in (every, np.stack(every), folder)]
    assert states[0]["image"].shape == (1, 2, 3, 42, 70) and 0 not in states[0]["image"].strides
    for other in states[1:]:
        assert all(np.array_equal(states[0][key], value) for key, value in other.items())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"head_type": "Other"}, "head_type"),
        ({"head": {"dim_in": 32, "output_dim": 2, "features": 16, "out_channels": [8, 12, 20, 16]}}, "dim_in is 32"),
        ({"cam_dec": None}, "a DualDPT comes with net.alt_start and cam_dec"),
        ({"metric": True}, "metric is of models of one view"),
        ({"model_name": "da3-giant"}, "of the giant model"),
        ({"model_name": "da3nested-giant-large"}, "of a nested model"),
        ({"backbone_config": {}}, "of Depth Anything V2; use the family depth_anything_v2"),
        ({"config": 3}, "config is no mapping"),
    ],
)
def test_bad_configurations(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    configured(checkpoint(tmp_path), **fields)
    with pytest.raises(UsageError, match=message):
        family.read_settings(tmp_path, family.Knobs(), False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"out_layers": [2, 3, 3, 5]}, "out_layers .* are not rising blocks of 6"),
        ({"num_heads": 5}, "heads of width 32"),
        ({"img_size": 71}, "img_size 71 is no multiple"),
        ({"embed_dim": 1536}, "of the giant model"),
    ],
)
def test_bad_transformers(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = checkpoint(tmp_path) / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "net": {**config["net"], **change}}))
    with pytest.raises(UsageError, match=message):
        family.read_settings(tmp_path, family.Knobs(), False)


def test_configurations_as_the_release_nests_them() -> None:
    net = {"__object__": {"name": "DinoV2"}, "name": "vits", "out_layers": [5, 7, 9, 11], "cat_token": True}
    net |= dict.fromkeys(("alt_start", "qknorm_start", "rope_start"), 4)
    head = {"__object__": {"name": "DualDPT"}, "dim_in": 768, "output_dim": 2, "features": 64}
    inner = {"net": net, "head": {**head, "out_channels": [48, 96, 192, 384]}, "cam_enc": {"dim_out": 384}}
    found = parse_model({"model_name": "da3-small", "config": {**inner, "cam_dec": {"dim_in": 768}}}, "here")
    assert found == read_model(WEIGHTS / "DA3-Small")
    net = {"name": "vitl", "out_layers": [4, 11, 17, 23], "alt_start": -1, "qknorm_start": -1, "rope_start": -1}
    head = {"__object__": {"name": "DPT"}, "dim_in": 1024, "output_dim": 1, "features": 256}
    mono = {"config": {"net": net, "head": {**head, "out_channels": [256, 512, 1024, 1024]}}}
    assert parse_model({"model_name": "da3mono-large", **mono}, "here") == read_model(WEIGHTS / "DA3-Mono-Large")
    assert parse_model({"model_name": "da3metric-large", **mono}, "here") == read_model(WEIGHTS / "DA3-Metric-Large")


def test_a_folder_without_configuration_says_where_there_is_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"copy the one of weights/DA3-Small"):
        family.read_settings(tmp_path, family.Knobs(), True)


def test_settings(tmp_path: Path) -> None:
    assert _settings(tmp_path).size == (504, 504)
    with pytest.raises(UsageError, match=r"500 is no multiple of the patch .14.; use 490 or 504"):
        _settings(tmp_path, size=500)
    with pytest.raises(UsageError, match=r"knobs.views: 2, and the model of .* takes one view"):
        _settings(tmp_path / "mono", "mono", views=2)
    kinds = [
        (_settings(tmp_path), ("depth_map", "mesh", "points")),
        (_settings(tmp_path, views=3), ("depth_map", "sequence", "points")),
        (_settings(tmp_path / "mono", "mono"), ("depth_map",)),
        (_settings(tmp_path / "mono", "mono", field_of_view=60), ("depth_map", "mesh", "points")),
    ]
    assert [settings.asset_kinds for settings, _ in kinds] == [expected for _, expected in kinds]
