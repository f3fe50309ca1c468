"""TripoSR on the host: pictures, the field's grid, the surface, configurations, requests."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from triposr_tiny import KNOBS, checkpoint

from gen3dexport.errors import UsageError
from gen3dexport.models import Request, triposr
from gen3dexport.models.isosurface import surface
from gen3dexport.models.run_fields import with_run_fields
from gen3dexport.models.surface_search import Field, grid_points, sample
from gen3dexport.models.triposr.host.model import read_model
from gen3dexport.models.triposr.host.picture import centred, on_grey, pixels, resized
from gen3dexport.models.triposr.host.pipeline import ball
from gen3dexport.models.triposr.host.queries import activated, color, query

Points = NDArray[np.float32]
THRESHOLD = 25.0


def _density(distance: NDArray[Any]) -> Points:
    """A density that is the threshold at distance 0 and falls outward."""
    return (THRESHOLD * np.exp(-8 * distance)).astype(np.float32)


def _torus(p: Points) -> NDArray[Any]:
    return np.hypot(np.hypot(p[:, 0], p[:, 1]) - 0.6, p[:, 2]) - 0.17


def _rod(p: Points) -> NDArray[Any]:
    """A ball with a rod of a third of a coarse step that leaves it aslant."""
    along = np.clip(p @ np.array([0.8, 0.5, 0.332]), 0.2, 0.9)[:, None] * np.array([0.8, 0.5, 0.332])
    return np.minimum(np.linalg.norm(p, axis=1) - 0.3, np.linalg.norm(p - along, axis=1) - 0.03)


def _filled(p: Points) -> NDArray[Any]:
    """A ball that leaves the cube, with a hollow in it."""
    return np.maximum(np.linalg.norm(p, axis=1) - 1.2, 0.4 - np.linalg.norm(p, axis=1))


SHAPES: dict[str, Callable[[Points], NDArray[Any]]] = {"torus": _torus, "rod": _rod, "filled": _filled}
# Points that are queried of 64^3 = 262,144 with a coarse step of 4.
QUERIES = {"torus": 22437, "rod": 10865, "filled": 60151}


@pytest.mark.parametrize("coarse", [2, 4, 5, 8])
@pytest.mark.parametrize("name", SHAPES)
def test_coarse_to_fine_is_the_whole_grid(name: str, coarse: int) -> None:
    fields = [sample(lambda p: _density(SHAPES[name](p)), 64, step, THRESHOLD) for step in (1, coarse)]
    assert fields[0].queries == 64**3
    whole, found = (surface(field.values, THRESHOLD) for field in fields)
    assert len(whole[1]) > 500
    np.testing.assert_array_equal(found[0], whole[0])
    np.testing.assert_array_equal(found[1], whole[1])
    if coarse == 4:
        assert fields[1].queries == pytest.approx(QUERIES[name], rel=0.01)


def test_the_saving_at_the_released_resolution() -> None:
    """Of a ring in 256^3 = 16,777,216 points, with a coarse step of 4."""
    field = sample(lambda p: _density(_torus(p)), 256, 4, THRESHOLD)
    assert field.queries == pytest.approx(572_969, rel=0.01)


def test_a_speck_between_coarse_points_is_left_out() -> None:
    """What coarse-to-fine cannot see: a part that no coarse point is in and that touches no known surface."""
    grid = grid_points(33)
    on, between = grid[np.ravel_multi_index((8, 8, 8), (33,) * 3)], grid[np.ravel_multi_index((10, 10, 10), (33,) * 3)]

    def found(centre: Points) -> Field:
        return sample(lambda p: _density(np.linalg.norm(p - centre, axis=1) - 0.07), 33, 4, THRESHOLD)

    assert len(surface(found(on).values, THRESHOLD)[1])
    assert not len(surface(found(between).values, THRESHOLD)[1])


def test_nothing_and_everything_have_no_surface() -> None:
    for value in (0.0, 100.0):
        field = sample(lambda p, value=value: np.full(len(p), value, np.float32), 21, 4, THRESHOLD)  # type: ignore[misc]
        assert field.queries == 6**3
        assert (field.values > THRESHOLD).all() == (value > THRESHOLD)
        assert not len(surface(field.values, THRESHOLD)[1])


def test_faces_look_outward_along_the_grids_axes() -> None:
    centre = np.array([0.5, 0.2, -0.3], np.float32)
    field = sample(lambda p: _density(np.linalg.norm(p - centre, axis=1) - 0.3), 64, 4, THRESHOLD)
    vertices, faces = surface(field.values, THRESHOLD)
    np.testing.assert_allclose(vertices.mean(0), centre / 2, atol=2e-3)
    np.testing.assert_allclose(np.linalg.norm(vertices - centre / 2, axis=1), 0.15, atol=2e-3)
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    outward = (np.cross(b - a, c - a) * (a - centre / 2)).sum(1)
    assert (outward >= 0).all() and (outward > 0).mean() > 0.99
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()  # closed


def test_grid_points_have_z_fastest() -> None:
    points = grid_points(3)
    assert points[:4].tolist() == [[-1, -1, -1], [-1, -1, 0], [-1, -1, 1], [-1, 0, -1]]
    np.testing.assert_array_equal(grid_points(5, np.array([0, 124])), [[-1, -1, -1], [1, 1, 1]])


def test_chunks_change_nothing_and_are_all_of_one_size() -> None:
    shapes = set()

    def program(inputs: Mapping[str, Any]) -> dict[str, Any]:
        shapes.add(inputs["points"].shape)
        return {"density": inputs["points"].sum(-1, keepdims=True), "features": 2 * inputs["points"]}

    points = np.random.default_rng(0).standard_normal((1000, 3), dtype=np.float32)
    for chunk in (7, 1000, 4096):
        density, features = query(program, None, points, chunk, np)
        np.testing.assert_array_equal(density, points.sum(-1))
        np.testing.assert_array_equal(features, 2 * points)
    assert shapes == {(1, 7, 3), (1, 1000, 3), (1, 4096, 3)}
    assert query(program, None, points[:0], 7, np)[0].shape == (0,)


def test_activations() -> None:
    raw = np.array([0.0, 1.0, 500.0], np.float32)
    assert np.isfinite(activated(raw, -1.0)).all()
    np.testing.assert_allclose(activated(raw, -1.0)[:2], [np.exp(-1), 1], rtol=1e-6)
    raw = np.array([-1000.0, -2.0, 0.0, 1000.0], np.float32)
    np.testing.assert_allclose(color(raw), [0, 1 / (1 + np.exp(2)), 0.5, 1], atol=1e-6)


def test_the_stand_in_is_a_ball() -> None:
    field = sample(lambda p: ball(p, THRESHOLD), 64, 4, THRESHOLD)
    vertices, _ = surface(field.values, THRESHOLD)
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), 0.3, atol=2e-3)


def test_the_subject_is_cropped_as_released() -> None:
    """Its last row and column are left out; two paddings, each rounded down."""
    picture = np.zeros((40, 50, 4), np.uint8)
    picture[5:26, 10:18] = 255  # 21 rows, 8 columns: 20 and 7 are kept
    picture[5, 10] = (9, 8, 7, 255)
    square = centred(picture, 0.85)
    assert square.shape == (23, 23, 4)  # 20 / 0.85 = 23.5
    rows, columns = np.nonzero(square[..., 3])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (1, 20, 7, 13)  # (20 - 7) // 2 + (23 - 20) // 2
    assert square[1, 7].tolist() == [9, 8, 7, 255]
    assert centred(picture, 0.5).shape == (40, 40, 4)


def test_transparency_shows_grey() -> None:
    picture = np.array([[[255, 0, 10, 0], [255, 0, 10, 255], [255, 0, 100, 100]]], np.uint8)
    assert on_grey(picture).tolist() == [[[127, 127, 127], [255, 0, 10], [177, 77, 116]]]


@pytest.mark.parametrize(("shape", "size"), [((70, 58), 96), ((200, 131), 64), ((33, 33), 33)])
def test_pictures_are_resized_as_torch_does(shape: tuple[int, int], size: int) -> None:
    torch = pytest.importorskip("torch")
    picture = np.random.default_rng(0).random((*shape, 3), dtype=np.float32)
    given = torch.from_numpy(picture).permute(2, 0, 1)[None]
    expected = torch.nn.functional.interpolate(given, (size, size), mode="bilinear", antialias=True)
    np.testing.assert_allclose(resized(picture, size), expected[0].permute(1, 2, 0).numpy(), atol=2e-6)


def test_pixels_of_a_file(tmp_path: Path) -> None:
    picture = np.zeros((60, 60, 4), np.uint8)
    picture[10:51, 20:41] = (200, 100, 50, 255)
    Image.fromarray(picture).save(tmp_path / "a.png")
    found = pixels(tmp_path / "a.png", 64, 0.85)
    assert found.shape == (1, 3, 64, 64) and found.dtype == np.float32
    np.testing.assert_allclose(found[0, :, 32, 32], np.array([200, 100, 50]) / 255, atol=1e-3)
    np.testing.assert_allclose(found[0, :, 2, 2], 127 / 255, atol=1e-3)


def _picture(alpha: Callable[[NDArray[np.uint8]], None]) -> NDArray[np.uint8]:
    picture = np.full((20, 20, 4), 100, np.uint8)
    picture[..., 3] = 0
    alpha(picture[..., 3])
    return picture


def _set_column(alpha: NDArray[np.uint8]) -> None:
    alpha[:, 4] = 255


BAD_REQUESTS = [
    (Request(), "image: missing"),
    (Request("a chair"), "prompt: this model makes an asset of a picture alone"),
    (Request("a chair", image=_picture(lambda a: a.fill(9))), "prompt: this model makes an asset of a picture alone"),
    (Request(features=np.zeros((5, 3))), "features: this model takes a picture"),
    (Request(image=_picture(lambda a: None)), "nothing in it is opaque"),
    (Request(image=_picture(_set_column)), "one pixel high or wide"),
    (Request(image="/nowhere.png"), "/nowhere.png: not a readable image"),
    (Request(image=np.zeros((4, 4))), "needs uint8"),
]


@pytest.mark.parametrize(("request_", "message"), BAD_REQUESTS)
def test_bad_requests(request_: Request, message: str, tmp_path: Path) -> None:
    settings = triposr.read_settings(checkpoint(tmp_path), triposr.Knobs(), False)
    with pytest.raises(UsageError, match=message):
        triposr.begin(settings, request_, tmp_path, np)


def _config(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    path = checkpoint(tmp_path) / "config.yaml"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    return tmp_path


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("decoder.in_channels", 20, "three times post_processor.out_channels must be equal, and are 20 and 18"),
        ("backbone.in_channels", 32, "backbone.in_channels and tokenizer.num_channels must be equal"),
        ("cond_image_size", 100, "cond_image_size"),
        ("renderer.density_activation", "softplus", "renderer.density_activation"),
        ("renderer.feature_reduction", "mean", "renderer.feature_reduction"),
        ("backbone.depth", 3, "backbone.depth: unknown key"),
        ("tokenizer.plane_size", 0, "tokenizer.plane_size"),
    ],
)
def test_bad_configurations(part: str, value: Any, message: str, tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        *parents, last = part.split(".")
        (config[parents[0]] if parents else config)[last] = value

    with pytest.raises(UsageError, match=message):
        read_model(_config(tmp_path, change))


def test_configurations_in_the_released_form(tmp_path: Path) -> None:
    """The encoder by its name, references between parts, names of upstream's classes."""

    def change(config: dict[str, Any]) -> None:
        config["vit_cls"] = "a.b.C"
        config["backbone"]["in_channels"] = "${tokenizer.num_channels}"

    assert read_model(_config(tmp_path, change)).backbone.in_channels == 64
    released = Path(__file__).parents[3] / "weights" / "TripoSR"
    model = read_model(released)
    assert (model.vit.num_hidden_layers, model.vit.layer_norm_eps, model.image_tokens) == (12, 1e-12, 1025)

    def other(config: dict[str, Any]) -> None:
        del config["vit"]
        config["image_tokenizer"] = {"pretrained_model_name_or_path": "facebook/dino-vits8"}

    with pytest.raises(UsageError, match="names 'facebook/dino-vits8', not facebook/dino-vitb16"):
        read_model(_config(tmp_path, other))
    with pytest.raises(UsageError, match=r"config.yaml: cannot be read"):
        read_model(tmp_path / "nowhere")


def test_run_fields() -> None:
    settings = triposr.Settings(model=read_model(Path(__file__).parents[3] / "weights" / "TripoSR"))
    assert with_run_fields(settings, {"resolution": "128", "threshold": "10"}).resolution == 128
    with pytest.raises(UsageError, match="resolution=1"):
        with_run_fields(settings, {"resolution": "1"})
    with pytest.raises(UsageError, match="chunk: this pipeline has no such field"):
        with_run_fields(settings, {"chunk": "64"})  # programs have it built in


def test_released_defaults() -> None:
    made = triposr.Settings(model=read_model(Path(__file__).parents[3] / "weights" / "TripoSR"))
    assert (made.resolution, made.threshold, made.foreground_ratio, made.position_table) == (256, 25.0, 0.85, "factor")
    assert triposr.Knobs(**KNOBS).chunk == 512
