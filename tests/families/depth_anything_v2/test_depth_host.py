"""Depth Anything V2 on the host: photographs, their place in the network's picture, settings, requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from depth_tiny import checkpoint, configured
from PIL import Image

from gen3dexport.errors import UsageError
from gen3dexport.models import Request
from gen3dexport.models import depth_anything_v2 as family
from gen3dexport.models.depth_anything_v2.host.picture import brought_back, frame, pixels, published_size
from gen3dexport.models.depth_anything_v2.host.settings import Settings
from gen3dexport.models.photograph import Frame, photograph
from gen3dexport.models.run_fields import with_run_fields


def _settings(folder: Path, **knobs: Any) -> Settings:
    return family.read_settings(checkpoint(folder), family.Knobs(**knobs), False)


@pytest.mark.parametrize(
    ("photo", "original", "hf"),
    [
        ((300, 400), (518, 686), (392, 518)),  # smaller than the network's picture: the libraries differ
        ((1080, 1920), (518, 924), (518, 924)),
        ((4000, 3000), (686, 518), (686, 518)),
        ((518, 518), (518, 518), (518, 518)),
        ((600, 400), (784, 518), (518, 350)),  # 518 / 600 is nearer to 1; 777 / 14 is rounded to even
        ((519, 520), (518, 518), (518, 518)),
    ],
)
def test_published_sizes(photo: tuple[int, int], original: tuple[int, int], hf: tuple[int, int]) -> None:
    assert published_size(*photo, 518, 14, "original") == original
    assert published_size(*photo, 518, 14, "hf") == hf


def test_a_photograph_of_the_published_size_fills_the_picture() -> None:
    assert frame(300, 400, (518, 686), 14, "original", "letterbox") == Frame(0, 0, 518, 686)
    assert frame(300, 400, (518, 686), 14, "hf", "letterbox") == Frame(2, 0, 514, 686)  # 4 : 3 but for a pixel
    assert frame(1080, 1920, (518, 924), 14, "hf", "letterbox") == Frame(0, 0, 518, 924)


@pytest.mark.parametrize(
    ("photo", "place"),
    [
        ((300, 400), Frame(65, 0, 388, 518)),
        ((400, 300), Frame(0, 65, 518, 388)),
        ((700, 20), Frame(0, 251, 518, 15)),
    ],
)
def test_others_lie_between_bars_or_are_stretched(photo: tuple[int, int], place: Frame) -> None:
    assert frame(*photo, (518, 518), 14, "original", "letterbox") == place
    assert frame(*photo, (518, 518), 14, "original", "stretch") == Frame(0, 0, 518, 518)


def test_bars_are_the_mean_colour_and_do_not_come_back() -> None:
    colors = np.random.default_rng(0).integers(0, 256, (30, 60, 3), dtype=np.uint8)
    place = frame(30, 60, (70, 70), 14, "original", "letterbox")
    made = pixels(colors, (70, 70), place, "original")
    assert made.shape == (1, 3, 70, 70) and made.dtype == np.float32 and place == Frame(17, 0, 35, 70)
    assert not made[:, :, :17].any() and not made[:, :, 52:].any() and made[:, :, 17:52].all()
    depth = np.full((70, 70), np.nan, np.float32)
    depth[17:52] = np.linspace(1, 2, 70, dtype=np.float32)
    back = brought_back(depth, place, 30, 60)
    assert back.shape == (30, 60)
    np.testing.assert_allclose(back, np.tile(np.linspace(1, 2, 60), (30, 1)), rtol=1e-6)


def test_photographs_of_every_sort_are_read(tmp_path: Path) -> None:
    """Turned by EXIF, grey, 16 bits deep, transparent."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20), (10, 20, 30)).save(tmp_path / "side.png", exif=exif)
    Image.fromarray(np.full((4, 5), 200, np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(np.full((4, 5), 200 * 257, np.uint16)).save(tmp_path / "deep.png")
    assert photograph(tmp_path / "side.png")[0].shape == (30, 20, 3)
    for name in ("grey", "deep"):
        assert (photograph(tmp_path / f"{name}.png")[0] == 200).all()
    picture = np.full((4, 5, 4), 255, np.uint8)
    picture[:, :2, 3] = 0
    colors, opaque = photograph(picture)
    assert (colors[:, :2] == 128).all() and (colors[:, 2:] == 255).all()
    assert not opaque[:, :2].any() and opaque[:, 2:].all()


def _truncated(folder: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "whole.jpg")
    data = (folder / "whole.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(data[: len(data) // 2])
    return folder / "cut.jpg"


BAD_REQUESTS: list[tuple[dict[str, Any], str]] = [
    ({}, "image: missing"),
    ({"prompt": "a street"}, "prompt: this model makes depth of a photograph alone"),
    ({"features": np.zeros((5, 3))}, "features: this model takes a photograph"),
    ({"image": "/nowhere.png"}, "/nowhere.png: not a readable image"),
    ({"image": np.zeros((0, 4, 3), np.uint8)}, "needs uint8"),
    ({"image": np.zeros((1, 1, 3), np.uint8)}, "is 1 x 1 pixels; depth needs two at least"),
    ({"image": np.zeros((40, 1, 3), np.uint8)}, "is 1 x 40 pixels"),
    ({"image": np.zeros((2000, 3, 3), np.uint8)}, "narrower than a patch of 14; crop it, or set fit=stretch"),
]


@pytest.mark.parametrize(("asked", "message"), BAD_REQUESTS)
def test_bad_requests(asked: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        family.begin(_settings(tmp_path), Request(**asked), tmp_path, np)


def test_a_truncated_photograph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cut\.jpg: not a readable image \(.*truncated"):
        photograph(_truncated(tmp_path))


@pytest.mark.parametrize(
    ("size", "message"),
    [(500, "500 is no multiple of the patch .14.; use 490 or 504"), ((70, 13), "13 is no multiple .*; use 14")],
)
def test_sizes_are_multiples_of_the_patch(size: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        _settings(tmp_path, size=size)


def test_sizes_are_an_edge_or_two(tmp_path: Path) -> None:
    found = [_settings(tmp_path, **knobs).size for knobs in ({}, {"size": 56}, {"size": [28, 42]})]
    assert found == [(70, 70), (56, 56), (28, 42)]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "dpt"}, "model_type is 'dpt', and 'depth_anything' in every"),
        ({"reassemble_factors": [8, 4, 2, 1]}, "reassemble_factors"),
        ({"backbone_config": {"use_swiglu_ffn": True}}, "backbone_config: use_swiglu_ffn is True"),
        ({"hidden_size": 50}, "hidden_size 50 is no multiple of 3 heads"),
        ({"image_size": 71}, "image_size 71 is no multiple of patch_size 14"),
        ({"out_indices": [1, 2, 4, 4]}, "are not rising blocks of 4"),
        ({"out_indices": [1, 2, 3]}, "out_indices"),
        ({"neck_hidden_sizes": None}, "neck_hidden_sizes"),
        ({"depth_estimation_type": "metric", "max_depth": None}, "max_depth is missing"),
        ({"depth_estimation_type": "both"}, "depth_estimation_type"),
        ({"num_hidden_layers": 12, "out_indices": [9, 10, 11, 12]}, "as in Depth Anything V1"),
        ({"net": {}}, "of Depth Anything 3; use the family depth_anything_3"),
        ({"points_head": {}}, "of MoGe-2; use the family moge_2"),
    ],
)
def test_bad_configurations(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    configured(checkpoint(tmp_path), **fields)
    with pytest.raises(UsageError, match=message):
        family.read_settings(tmp_path, family.Knobs(), False)


def test_a_folder_without_configuration_says_where_there_is_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"copy the one of weights/Depth-Anything-V2-Small"):
        family.read_settings(tmp_path, family.Knobs(), True)


def test_configurations_in_the_published_form(tmp_path: Path) -> None:
    """What the transformers library takes by default is left out there, and taps may be named."""
    backbone = {"hidden_size": 768, "image_size": 518, "out_features": ["stage3", "stage6", "stage9", "stage12"]}
    configured(checkpoint(tmp_path), backbone_config=backbone, hidden_size=None, out_indices=None, max_depth=None)
    model = family.read_settings(tmp_path, family.Knobs(), True).model
    assert (model.hidden_size, model.num_hidden_layers, model.num_attention_heads) == (768, 12, 12)
    assert (model.out_indices, model.table_edge, model.metric) == ((3, 6, 9, 12), 37, False)


def test_one_checkpoint_in_a_folder(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, layout="original")
    path = folder / "depth_anything_v2_vits.safetensors"
    path.with_suffix(".pth").write_bytes(b"")  # a pickle beside its conversion
    assert family.read_settings(folder, family.Knobs(), False).checkpoint == path.stem
    (folder / "depth_anything_v2_vitb.pth").write_bytes(b"")
    with pytest.raises(UsageError, match=r"has several checkpoints .*vitb\.pth.*vits\.safetensors"):
        family.read_settings(folder, family.Knobs(), False)


def test_run_fields(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    assert settings.asset_kinds == ("depth_map",)
    found = with_run_fields(settings, {"field_of_view": "60", "grid": "64", "fit": "stretch"})
    assert found.asset_kinds == ("depth_map", "mesh", "points") and found.grid == 64
    for values, message in (({"field_of_view": "180"}, "field_of_view=180"), ({"fit": "crop"}, "fit=crop")):
        with pytest.raises(UsageError, match=message):
            with_run_fields(settings, values)
    with pytest.raises(UsageError, match="size: this pipeline has no such field"):
        with_run_fields(settings, {"size": "70"})  # the program has it built in
