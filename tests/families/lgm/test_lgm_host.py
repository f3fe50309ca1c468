"""LGM on the host: configurations, names, pictures, cameras, chunks of films, requests that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lgm_tiny import GOLDEN, checkpoint, pictures
from PIL import Image

from gen3dexport.assets.gaussians import rotation_matrices
from gen3dexport.errors import UsageError
from gen3dexport.models import Request, lgm
from gen3dexport.models.lgm.host import gaussians, views
from gen3dexport.models.lgm.host.cameras import evenly, orbit, rays
from gen3dexport.models.lgm.host.model import parse_model
from gen3dexport.models.run_fields import with_run_fields

CONFIG: dict[str, Any] = json.loads((GOLDEN / "lgm" / "config.json").read_text())


def _settings(folder: Path, kind: str = "lgm", **knobs: Any) -> lgm.Settings:
    return lgm.read_settings(checkpoint(folder, kind), lgm.Knobs(**knobs), False)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"up_channels": [64, 32]}, "are not down_channels from the end"),
        ({"up_channels": [64, 64, 32, 32], "up_attention": [True] * 4}, "the way up is no longer"),
        ({"up_attention": [True]}, "need a flag for every block"),
        ({"splat_size": 16}, "splat_size is 16, and the U-Net makes maps of 8"),
        ({"input_size": 18}, "no multiple of 4"),
        ({"down_channels": [32, 48, 64]}, "multiple of 32"),
        ({"use_temp_attn": True}, "use_temp_attn needs num_frames"),
        ({"znear": 3.0}, "znear 3.0 is not less than zfar"),
        ({"lambda_lpips": 1.0}, "lambda_lpips: Extra inputs"),
    ],
)
def test_configurations_that_do_not_fit(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_model({**CONFIG, **fields}, "here")


def test_further_flags_of_the_way_up_are_unused() -> None:
    parse_model({**CONFIG, "up_attention": [True, False, False, True]}, "here")


def test_old_files_are_refused(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    (folder / "model_fixrot.safetensors").rename(folder / "model_fp16.safetensors")
    with pytest.raises(UsageError, match="files without `fixrot` were trained with another normalisation"):
        lgm.read_settings(folder, lgm.Knobs(), False)
    lgm.read_settings(folder, lgm.Knobs(), True)
    (folder / "model_fp16.safetensors").rename(folder / "model_fp16_fixrot.safetensors")
    assert lgm.read_settings(folder, lgm.Knobs(), False).checkpoint == "model_fp16_fixrot"


def test_the_exact_file_comes_first(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    (folder / "model_fp16_fixrot.safetensors").write_bytes(b"")
    assert lgm.read_settings(folder, lgm.Knobs(), False).checkpoint == "model_fixrot"


@pytest.mark.parametrize("knobs", [{"frames": 2}, {"interpolate": True}, {"rate": 30.0}])
def test_a_still_object_has_no_frames(knobs: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"knobs.{next(iter(knobs))}: the model of .* makes a still object"):
        _settings(tmp_path, **knobs)


def test_frames_are_a_knob(tmp_path: Path) -> None:
    assert _settings(tmp_path, "l4gm").model.num_frames == 3
    settings = _settings(tmp_path, "l4gm", frames=5, interpolate=True)
    assert (settings.model.num_frames, settings.between.num_frames) == (5, 4)


def test_what_is_transparent_is_white_and_pictures_become_squares() -> None:
    picture = np.zeros((2, 4, 4), np.uint8)
    picture[0, 0] = (255, 0, 0, 255)
    made = views.on_white(picture)
    assert made.shape == (3, 4, 4)
    assert made[:, 1, 0].tolist() == [1, 0, 0] and made[:, 0].min() == made[:, 3].min() == made[:, 2].min() == 1


@pytest.mark.parametrize("size", [5, 8, 13, 40])
def test_resizing_is_torch_s(size: int) -> None:
    picture = np.random.default_rng(0).random((3, 24, 24)).astype(np.float32)
    tensor = torch.from_numpy(picture)[None]
    area = torch.nn.functional.interpolate(tensor, (size, size), mode="area")[0].numpy()
    np.testing.assert_allclose(views.area(picture, size), area, atol=2e-6)
    bilinear = torch.nn.functional.interpolate(tensor, (size, size), mode="bilinear", align_corners=False)[0].numpy()
    np.testing.assert_allclose(views.bilinear(picture, size), bilinear, atol=2e-6)


def test_rays_go_through_the_pixels() -> None:
    """A ray's moment is that of any point on it; the middle one looks at the origin; the orbit is counter-clockwise."""
    cameras = orbit(0, evenly(4), 1.5)
    found = rays(cameras, 5, 49.1)
    moments, directions = found[:, :3], found[:, 3:]
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose((moments * directions).sum(1), 0, atol=1e-6)
    np.testing.assert_allclose(directions[:, :, 2, 2], -cameras[:, :3, 3] / 1.5, atol=1e-6)
    turned = gaussians.FRAME @ cameras[:, :3, 3].T
    np.testing.assert_allclose(turned.T, 1.5 * np.array([[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]]), atol=1e-6)
    assert np.linalg.det(gaussians.FRAME) == pytest.approx(1)
    up = gaussians.FRAME @ directions[0, :, 0, 2]  # the top row looks up
    assert up[2] > 0.3


def test_frames_of_calls_overlap_by_one() -> None:
    assert [*views.chunks(16, 16)] == [0] and [*views.chunks(17, 16)] == [0, 15] and [*views.chunks(31, 16)] == [0, 15]
    assert (
        [*views.chunks(32, 16)] == [0, 15, 30] and [*views.chunks(1, 16)] == [0] and [*views.chunks(3, 1)] == [0, 1, 2]
    )


def test_frames_between_are_blends_in_thirds() -> None:
    made = views.between(np.zeros((4, 3, 2, 2), np.float32), np.ones((4, 3, 2, 2), np.float32))
    assert made.shape == (4, 4, 3, 2, 2)
    np.testing.assert_allclose(made[:, 0, 0, 0, 0], [0, 1 / 3, 2 / 3, 1], atol=1e-6)


def test_an_input_is_colours_and_rays(tmp_path: Path) -> None:
    given = np.random.default_rng(0).random((2, 4, 3, 5, 5)).astype(np.float32)
    beside = rays(orbit(0, evenly(4), 1.5), 5, 49.1)
    made = views.inputs(given, beside)
    assert made.shape == (1, 8, 9, 5, 5) and made.dtype == np.float32
    np.testing.assert_allclose(made[0, 5, 0], (given[1, 1, 0] - 0.485) / 0.229, rtol=1e-5)
    np.testing.assert_array_equal(made[0, 6, 3:], beside[2])


def test_imagedream_s_last_view_is_the_front(tmp_path: Path) -> None:
    every = [np.full((16, 16, 3), 40 * k, np.uint8) for k in range(4)]
    found = views.object_views(Request(image=every), _settings(tmp_path))
    assert [round(255 * float(v)) for v in found[:, 0, 0, 0]] == [0, 40, 80, 120]
    found = views.object_views(Request(image=every), _settings(tmp_path, order="imagedream"))
    assert [round(255 * float(v)) for v in found[:, 0, 0, 0]] == [40, 80, 120, 0]


def test_views_come_from_a_folder_or_side_by_side(tmp_path: Path) -> None:
    settings = _settings(tmp_path / "weights")
    every = [Image.fromarray(one) for one in pictures(4)]
    (tmp_path / "views").mkdir()
    for k, one in enumerate(every):
        one.save(tmp_path / "views" / f"{[9, 10, 11, 100][k]}.png")  # by number, not by letters
    wide = Image.new("RGBA", (256, 64))
    for k, one in enumerate(every):
        wide.paste(one, (64 * k, 0))
    expected = views.object_views(Request(image=every), settings)
    for source in (tmp_path / "views", wide, np.stack([np.asarray(one) for one in every])):
        np.testing.assert_array_equal(views.object_views(Request(image=source), settings), expected)


@pytest.mark.parametrize(
    ("kind", "request_", "message"),
    [
        ("lgm", Request(), "image: missing; this model makes Gaussians of an object's views"),
        ("lgm", Request("a chair"), "prompt: this model"),
        ("lgm", Request(image=pictures(3)), "3 pictures, and this model takes 4 views of an object, 0, 90, 180, 270"),
        ("lgm", Request(image=pictures(1)[0]), "1 pictures, and this model takes 4"),
        ("lgm", Request(image=pictures(4), video=pictures(2)), "this model .LGM. makes a still object"),
        ("lgm", Request(image=[np.zeros((2, 2), np.uint8)] * 4), "needs uint8"),
        ("l4gm", Request(), "image: missing; this model makes Gaussians of a film"),
        ("l4gm", Request(video=pictures(2)), "a film shows one side, .* the 3 others of its first frame, 90, 180, 270"),
        ("l4gm", Request(image=pictures(5)), "5 pictures, and this model takes 4 views of every frame"),
        ("l4gm", Request(video=pictures(2), image=pictures(2)), "2 pictures, and this model takes the 3 other views"),
        ("l4gm", Request(video=[], image=pictures(3)), "video: holds no frame"),
        ("l4gm", Request(features=np.zeros((1, 1)), image=pictures(4)), "features: "),
        ("l4gm", Request("a chair", video=pictures(2), image=pictures(3)), "prompt: this model"),
    ],
)
def test_requests_that_are_refused(kind: str, request_: Request, message: str, tmp_path: Path) -> None:
    settings = _settings(tmp_path, kind)
    with pytest.raises(UsageError, match=message):
        lgm.begin(settings, request_, tmp_path, np)


def test_what_a_run_may_change(tmp_path: Path) -> None:
    settings = _settings(tmp_path, "l4gm")
    changed = with_run_fields(settings, {"rate": "30", "least_opacity": "0.1", "order": "imagedream"})
    assert (changed.rate, changed.least_opacity, changed.order) == (30, 0.1, "imagedream")
    with pytest.raises(UsageError, match="order"):
        with_run_fields(settings, {"order": "clockwise"})


def test_an_asset_is_the_rows_in_the_unit_cube() -> None:
    rows = np.zeros((2, 14), np.float32)
    rows[0] = [0.2, 0.4, 0.6, 0.9, 0.1, 0.2, 0.3, 1, 0, 0, 0, 1, 0.5, 0]
    rows[1] = [1, -1, 1, 0.5, 0.1, 0.1, 0.1, 0.6, 0.8, 0, 0, 0, 0, 0]
    made = gaussians.asset(rows)
    np.testing.assert_allclose(made.positions, [[0.3, 0.1, 0.2], [0.5, 0.5, -0.5]], atol=1e-6)
    np.testing.assert_allclose(made.colors, rows[:, 11:], atol=1e-6)
    axes = rotation_matrices(made.rotations[:1])[0] * made.scales[0]
    np.testing.assert_allclose(axes @ axes.T, np.diag([0.15, 0.05, 0.1]) ** 2, atol=1e-6)
