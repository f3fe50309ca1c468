"""SF3D on the host: pictures, marching tetrahedra, materials, configurations, requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sf3d_tiny import KNOBS, checkpoint

from gen3dexport.assets.mesh import is_closed
from gen3dexport.errors import MissingError, UsageError
from gen3dexport.models import Request, sf3d, texture_baking
from gen3dexport.models.marching_tetrahedra import _kuhn, _table, crossed_tetrahedra, crossing
from gen3dexport.models.run_fields import with_run_fields
from gen3dexport.models.sf3d.host.fields import activated, beta_mode
from gen3dexport.models.sf3d.host.model import read_model
from gen3dexport.models.sf3d.host.parts import Head
from gen3dexport.models.sf3d.host.picture import centred, for_clip, pixels
from gen3dexport.models.sf3d.host.surface import surface

RELEASED = Path(__file__).parents[3] / "weights" / "SF3D"


def _torus(p: NDArray[Any]) -> NDArray[np.float32]:
    distance = np.hypot(np.hypot(p[:, 0], p[:, 1]) - 0.55, p[:, 2]) - 0.25
    return (10 * np.exp(-4 * distance)).astype(np.float32)


def _volume(vertices: NDArray[Any], faces: NDArray[Any]) -> float:
    a, b, c = np.moveaxis(vertices[faces].astype(np.float64), 1, 0)
    return float((a * np.cross(b, c)).sum() / 6)


def test_cells_are_six_tetrahedra_that_fill_them() -> None:
    corners = _kuhn().astype(np.float64)
    dets = np.linalg.det(corners[:, 1:] - corners[:, :1])
    assert len(corners) == 6 and np.allclose(dets, 1)  # 6 times a sixth of the cell
    counts, _ = _table()
    assert counts.tolist() == [0, 1, 1, 2, 1, 2, 2, 1, 1, 2, 2, 1, 2, 1, 1, 0]


@pytest.mark.parametrize("coarse", [1, 4])
def test_a_torus_is_closed_outward_and_of_its_volume(coarse: int) -> None:
    found = surface(_torus, np.zeros_like, 40, coarse, 10.0)
    assert is_closed(found.faces)
    expected = 2 * np.pi**2 * 0.55 * 0.25**2 / 8  # the cube of edge 2 is the unit cube
    assert _volume(found.vertices, found.faces) == pytest.approx(expected, rel=0.02)
    ring = np.hypot(np.hypot(*found.vertices[:, :2].T) - 0.275, found.vertices[:, 2])
    assert np.abs(ring - 0.125).max() < 0.002
    assert (found.queries < 41**3) == (coarse > 1)


def test_offsets_move_the_grid_and_not_what_is_asked() -> None:
    asked = []

    def offsets(points: NDArray[Any]) -> NDArray[np.float32]:
        asked.append(points)
        return np.full_like(points, 100.0)

    plain, found = (surface(_torus, move, 20, 2, 10.0) for move in (np.zeros_like, offsets))
    np.testing.assert_allclose(found.vertices - plain.vertices, 1 / 20, atol=1e-6)
    np.testing.assert_array_equal(found.faces, plain.faces)
    assert np.abs(asked[0] * 10 - np.rint(asked[0] * 10)).max() < 1e-5


def test_only_cells_that_are_crossed_are_cut() -> None:
    inside = np.zeros((4, 4, 4), bool)
    inside[1, 1, 1] = True
    assert crossed_tetrahedra(inside).shape == (8 * 6, 4)
    whole = crossed_tetrahedra(np.zeros((4, 4, 4), bool))
    assert whole.shape == (0, 4)
    nothing = crossing(np.zeros((0, 3), np.float32), np.zeros(0, np.float32), whole)
    assert nothing.vertices.shape == nothing.faces.shape == (0, 3)


def test_modes_of_beta_distributions() -> None:
    found = beta_mode(np.array([3.0, 0.5, 0.5, 2.0, 1.0, 1.0]), np.array([2.0, 0.5, 2.0, 0.5, 1.0, 0.5]))
    np.testing.assert_allclose(found[:4], [2 / 3, 1, 0, 1], atol=1e-6)
    assert np.isnan(found[4]) and found[5] == 1


def test_activations() -> None:
    raw = np.array([[0.0, 3.0, -4.0]], np.float32)

    def of(activation: Any, bias: float = 0.0) -> list[float]:
        head = Head(name="x", out_channels=3, n_hidden_layers=1, out_bias=bias, output_activation=activation)
        return [round(float(v), 4) for v in activated(raw, head)[0]]

    assert of("trunc_exp", -1.0) == [0.3679, 7.3891, 0.0067]
    assert of("sigmoid") == [0.5, 0.9526, 0.018]
    assert of("normalize_channel_last") == [0.0, 0.6, -0.8]
    assert of(None) == [0.0, 3.0, -4.0]
    huge = Head(name="d", out_channels=1, n_hidden_layers=1, output_activation="trunc_exp")
    assert np.isfinite(activated(np.array([[1e4]], np.float32), huge)).all()


def _picture(change: Callable[[NDArray[np.uint8]], None], size: int = 20) -> NDArray[np.uint8]:
    picture = np.full((size, size, 4), 100, np.uint8)
    picture[..., 3] = 0
    change(picture[..., 3])
    return picture


def _set_pixel(alpha: NDArray[np.uint8]) -> None:
    alpha[3, 4] = 255


def _set_block(alpha: NDArray[np.uint8]) -> None:
    alpha[5:16, 8:13] = 255


def test_the_subject_is_centred() -> None:
    square = centred(_picture(_set_block), 0.85)
    assert square.shape == (11, 11, 4)  # 10 / 0.85
    rows, columns = np.nonzero(square[..., 3])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (1, 10, 4, 8)


def test_a_subject_at_the_edge_has_nothing_beyond() -> None:
    picture = np.zeros((10, 10, 4), np.uint8)
    picture[:, :3] = 255
    square = centred(picture, 0.5)
    assert square.shape == (18, 18, 4)
    assert (square[..., 3] > 0).sum() == 30


def test_grey_shows_where_there_is_no_subject_and_black_for_clip() -> None:
    shown, alpha = pixels(_picture(_set_block), 64, 0.85)
    assert shown.shape == (1, 3, 64, 64) and alpha.shape == (1, 1, 64, 64)
    np.testing.assert_allclose(shown[0, :, 0, 0], 0.5, atol=1e-6)
    np.testing.assert_allclose(shown[0, :, 32, 35], 100 / 255, atol=1e-6)
    clip = for_clip(shown, alpha, 16)
    assert clip.shape == (1, 3, 16, 16) and clip[0, :, 0, 0].max() == 0
    torch = pytest.importorskip("torch")
    expected = torch.nn.functional.interpolate(torch.from_numpy(shown * alpha), (16, 16), mode="bilinear")
    np.testing.assert_allclose(clip, expected.numpy(), atol=1e-6)


BAD_REQUESTS = [
    (Request(), "image: missing"),
    (Request("a chair"), "prompt: this model makes an asset of a picture alone"),
    (Request(features=np.zeros((5, 3))), "features: this model takes a picture"),
    (Request(image=_picture(lambda a: None)), "nothing in it is opaque"),
    (Request(image=_picture(_set_pixel)), "its subject is one pixel"),
    (Request(image=np.zeros((1, 1, 4), np.uint8)), "nothing in it is opaque"),
    (Request(image="/nowhere.png"), "/nowhere.png: not a readable image"),
    (Request(image=np.zeros((4, 4))), "needs uint8"),
]


@pytest.mark.parametrize(("request_", "message"), BAD_REQUESTS)
def test_bad_requests(request_: Request, message: str, tmp_path: Path) -> None:
    settings = sf3d.Settings(model=read_model(RELEASED))
    with pytest.raises(UsageError, match=message):
        sf3d.begin(settings, request_, tmp_path, np)


def test_without_the_unwrapper_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texture_baking, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r"pip install 'gen3dexport\[textures\]'"):
        sf3d.begin(sf3d.Settings(model=read_model(RELEASED)), Request(image=_picture(_set_block)), tmp_path, np)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("decoder.in_channels", 20, "three times post_processor.out_channels must be equal, and are 20 and 24"),
        ("backbone.raw_triplane_channels", 64, "backbone.raw_triplane_channels and tokenizer.num_channels"),
        ("backbone.attention_head_dim", 8, "triplane_channels=32 is not heads times head width"),
        ("backbone.norm_x_input", True, "backbone.norm_x_input"),
        ("cond_image_size", 9, "cond_image_size must be the encoder's patch_size"),
        ("camera_embedder.out_channels", 21, "camera_embedder.out_channels must be equal"),
        ("tokenizer.plane_size", 0, "tokenizer.plane_size"),
        ("decoder.heads", [], "lacks density"),
        ("image_estimator.distribution", "gauss", "image_estimator.distribution"),
        ("image_tokenizer", {"pretrained_model_name_or_path": "facebook/dinov2-tiny"}, "names 'facebook/dinov2-tiny'"),
        ("image_estimator", {"model": "ViT-L-14"}, "names 'ViT-L-14', not ViT-B-32"),
    ],
)
def test_bad_configurations(part: str, value: Any, message: str, tmp_path: Path) -> None:
    path = checkpoint(tmp_path) / "config.yaml"
    config = json.loads(path.read_text())
    *parents, last = part.split(".")
    (config[parents[0]] if parents else config)[last] = value
    path.write_text(json.dumps(config))
    with pytest.raises(UsageError, match=message):
        read_model(tmp_path)


def test_another_family_and_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="of TripoSR; use the family triposr"):
        read_model(Path(__file__).parents[3] / "weights" / "TripoSR")
    with pytest.raises(UsageError, match=r"config.yaml: cannot be read"):
        read_model(tmp_path)
    (tmp_path / "config.yaml").write_text("cond_image_size: 512\n")
    with pytest.raises(UsageError, match="backbone: missing"):
        read_model(tmp_path)


def test_the_released_form(tmp_path: Path) -> None:
    """References between parts, names of upstream's classes, and fields of training."""
    path = checkpoint(tmp_path) / "config.yaml"
    config = json.loads(path.read_text())
    expected = read_model(tmp_path)
    config["backbone_cls"] = "a.b.C"
    config["backbone"]["raw_triplane_channels"] = "${tokenizer.num_channels}"
    config["decoder"]["heads"][0]["out_dtype"] = "float32"
    config["weights"] = None
    path.write_text(json.dumps(config))
    assert read_model(tmp_path) == expected


def test_run_fields() -> None:
    settings = sf3d.read_settings(RELEASED, sf3d.Knobs(), True)
    assert (settings.resolution, settings.threshold, settings.texture_size) == (160, 10.0, 1024)
    assert with_run_fields(settings, {"resolution": "64", "max_faces": "5000"}).max_faces == 5000
    with pytest.raises(UsageError, match="texture_size=1"):
        with_run_fields(settings, {"texture_size": "1"})
    with pytest.raises(UsageError, match="chunk: this pipeline has no such field"):
        with_run_fields(settings, {"chunk": "64"})
    assert sf3d.Knobs(**KNOBS).coarse == 2
