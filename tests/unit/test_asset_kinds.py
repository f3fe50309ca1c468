"""Every kind of asset keeps the contract of `assets.kinds`: arrays are lossless, files are written, scores are on their
scales, and what is nothing says so."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gen3dexport.assets import files, kinds
from gen3dexport.assets.depth_map import DepthMap
from gen3dexport.assets.feature_film import FeatureFilm
from gen3dexport.assets.feature_map import FeatureMap
from gen3dexport.assets.gaussians import Gaussians
from gen3dexport.assets.height_field import HeightField
from gen3dexport.assets.importance_map import ImportanceMap
from gen3dexport.assets.mesh import Mesh, from_occupancy_logits
from gen3dexport.assets.metrics import depth_delta1, surface_quality
from gen3dexport.assets.points import Points
from gen3dexport.assets.radiance_field import RadianceField
from gen3dexport.assets.sequence import AssetSequence
from gen3dexport.assets.tensors import Tensors
from gen3dexport.assets.view import View
from gen3dexport.assets.voxels import Voxels
from gen3dexport.errors import UsageError

RNG = np.random.default_rng(0)
GRID = np.stack(np.meshgrid(*[(np.arange(16) + 0.5) / 16 - 0.5] * 3, indexing="ij"), -1)


def ball(radius: float = 0.35, colored: bool = True) -> Mesh:
    mesh = from_occupancy_logits(radius - np.linalg.norm(GRID, axis=-1))
    colors = np.rint(255 * np.clip(mesh.vertices + 0.5, 0, 1)).astype(np.uint8)
    return replace(mesh, colors=colors if colored else None)


def shifted(mesh: Mesh, by: float) -> Mesh:
    return replace(mesh, vertices=mesh.vertices + np.float32(by))


def gaussians(shift: float = 0.0) -> Gaussians:
    rng = np.random.default_rng(1)
    return Gaussians(
        (rng.uniform(-0.4, 0.4, (60, 3)) + shift).astype(np.float32),
        rng.uniform(0.01, 0.05, (60, 3)).astype(np.float32),
        rng.standard_normal((60, 4)).astype(np.float32),
        rng.uniform(0.1, 0.9, 60).astype(np.float32),
        rng.uniform(-1, 1, (60, 4, 3)).astype(np.float32),
    )


def field(density: float = 40.0) -> RadianceField:
    centres = (np.stack(np.meshgrid(*[np.arange(8)] * 3, indexing="ij"), -1).reshape(-1, 3) + 0.5) / 8
    kept = centres[np.linalg.norm(centres - 0.5, axis=1) < 0.4].astype(np.float32)
    count = len(kept)
    colors = ((kept - 0.5) / 0.2820948)[:, None, None].astype(np.float32)
    trivec, amount = np.ones((count, 1, 3, 2), np.float32), np.full((count, 1), density, np.float32)
    return RadianceField(kept, 3, trivec, amount, colors)


def depth(scale: float = 1.0, right: int = 0) -> DepthMap:
    y, x = np.mgrid[:24, :32]
    found = np.where((x - right - 16) ** 2 + (y - 12) ** 2 < 100, 2 + 0.01 * x, np.inf)
    return DepthMap((scale * found).astype(np.float32), True, 55.0)


def heights(scale: float = 1.0) -> HeightField:
    y, x = np.mgrid[:12, :20] / 20
    return HeightField((scale * 0.2 * np.sin(6 * x) * np.cos(5 * y)).astype(np.float32))


def points(shift: float = 0.0) -> Points:
    rng = np.random.default_rng(2)
    positions = (rng.uniform(-0.4, 0.4, (500, 3)) + shift).astype(np.float32)
    return Points(positions, rng.integers(0, 256, (500, 3), dtype=np.uint8))


def features(noise: float = 0.0) -> FeatureMap:
    rng = np.random.default_rng(3)
    made = rng.standard_normal((7, 9, 16)) + noise * np.random.default_rng(4).standard_normal((7, 9, 16))
    return FeatureMap(made.astype(np.float32))


def feature_film(noise: float = 0.0) -> FeatureFilm:
    rng = np.random.default_rng(8)
    made = rng.standard_normal((4, 3, 5, 16)) + noise * np.random.default_rng(9).standard_normal((4, 3, 5, 16))
    features = made.astype(np.float32)
    return FeatureFilm(features, np.arange(4) / 15, features[3:] + np.float32(0.1), features[2:3])


def importance(noise: float = 0.0) -> ImportanceMap:
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:24, :32] / 32
    made = 0.5 + 0.4 * np.sin(7 * x) * np.cos(6 * y) + noise * rng.standard_normal((24, 32))
    return ImportanceMap(np.clip(made, 0, 1).astype(np.float32))


def tensors(noise: float = 0.0) -> Tensors:
    made = np.random.default_rng(6).standard_normal((2, 5)) + noise * np.random.default_rng(7).standard_normal((2, 5))
    return Tensors({"x": made.astype(np.float32), "ids": np.arange(3), "kept": np.array([True, False])})


def sequence(shift: float = 0.0) -> AssetSequence:
    return AssetSequence((points(), points(shift)), np.array([0.0, 0.5]))


def view(noise: float = 0.0) -> View:
    rng = np.random.default_rng(8)
    y, x = np.mgrid[:24, :32] / 32
    made = 128 + 90 * np.stack([np.sin(7 * x), np.cos(6 * y), x * y], -1) + noise * rng.standard_normal((24, 32, 3))
    colors = np.clip(made, 0, 255).astype(np.uint8)
    return View(colors, (1 + x).astype(np.float32), (0.5 * y).astype(np.float32), np.eye(4), 45.0)


# kind -> (an asset, one that is near it, one that is nothing of the kind)
EMPTY_CLOUD = Gaussians(*(np.zeros((0, *rest), np.float32) for rest in ((3,), (3,), (4,), (), (1, 3))))
SAMPLES: dict[str, tuple[Any, Any, Any]] = {
    "mesh": (
        ball(),
        replace(ball(), vertices=ball().vertices + np.float32(0.08)),
        Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64)),
    ),
    "gaussians": (gaussians(), gaussians(0.01), EMPTY_CLOUD),
    "radiance_field": (
        field(),
        field(20.0),
        RadianceField(*(a[:0] if isinstance(a, np.ndarray) else a for a in vars(field()).values())),
    ),
    "voxels": (
        Voxels(np.linalg.norm(GRID, axis=-1) < 0.35),
        Voxels(np.linalg.norm(GRID, axis=-1) < 0.34),
        Voxels(np.zeros((16, 16, 16), bool)),
    ),
    "depth_map": (depth(), depth(1.2, 3), DepthMap(np.full((24, 32), np.inf, np.float32))),
    "points": (points(), points(0.03), Points(np.zeros((0, 3), np.float32))),
    "height_field": (heights(), heights(1.02), HeightField(np.full((12, 20), np.nan, np.float32))),
    "tensors": (
        tensors(),
        tensors(0.1),
        Tensors({**tensors().arrays, "x": np.full((2, 5), np.nan, np.float32)}),
    ),
    "feature_map": (features(), features(0.1), FeatureMap(np.full((7, 9, 16), np.nan, np.float32))),
    "feature_film": (
        feature_film(),
        feature_film(0.1),
        replace(feature_film(), features=np.full((4, 3, 5, 16), np.nan, np.float32)),
    ),
    "importance_map": (importance(), importance(0.02), ImportanceMap(np.full((24, 32), np.nan, np.float32))),
    "view": (view(), view(5.0), replace(view(), depth=np.full((24, 32), np.nan, np.float32))),
    "sequence": (
        sequence(),
        sequence(0.03),
        AssetSequence((points(), Points(np.zeros((0, 3), np.float32))), np.array([0.0, 1.0])),
    ),
}
EVERY = pytest.mark.parametrize("kind", sorted(SAMPLES))


def test_every_kind_of_the_folder_has_samples() -> None:
    assert kinds.names() == tuple(sorted(SAMPLES))
    for name, (asset, _, _) in SAMPLES.items():
        assert asset.kind == name and kinds.of(asset) is kinds.of(name) and name == kinds.of(name).KIND
    with pytest.raises(UsageError, match=r"kind 'cloud': unknown; there are depth_map, .*voxels"):
        kinds.of("cloud")


@EVERY
def test_arrays_are_lossless_and_can_be_stored(kind: str, tmp_path: Path) -> None:
    asset = SAMPLES[kind][0]
    arrays = kinds.to_arrays({kind: asset})
    assert all(name.startswith(f"{kind}.") for name in arrays)
    save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, tmp_path / "a.safetensors")
    back = kinds.from_arrays(load_file(tmp_path / "a.safetensors") | {"logits": np.zeros(3)})
    assert list(back) == [kind] and type(back[kind]) is type(asset)
    again = kinds.of(kind).arrays(back[kind])
    assert {f"{kind}.{n}" for n in again} == arrays.keys()
    for name, values in again.items():
        stored = arrays[f"{kind}.{name}"]
        assert values.dtype == stored.dtype
        np.testing.assert_array_equal(values, stored)


@EVERY
def test_problems_counts_and_pictures(kind: str) -> None:
    asset, _, nothing = SAMPLES[kind]
    module = kinds.of(kind)
    assert module.problem(asset) is None and module.problem(nothing)
    assert all(isinstance(n, int) for n in module.counts(asset).values()) and max(module.counts(asset).values()) > 0
    picture = files.turntable(asset)
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3 and picture.std() > 5


@EVERY
def test_scores_are_on_their_scales(kind: str) -> None:
    asset, near, nothing = SAMPLES[kind]
    module = kinds.of(kind)
    equal, close, worst = (module.scores(a, asset) for a in (asset, near, nothing))
    against = kinds.against(asset)  # for many assets: the same numbers
    assert [against(a) for a in (asset, near, nothing)] == [equal, close, worst]
    assert equal[0].value == pytest.approx(1, abs=1e-6) and equal[0].better == "higher"
    assert 0 < close[0].value < 1
    assert worst[0].value == 0
    assert [s.name for s in equal] == [s.name for s in close] == [s.name for s in worst]
    assert len({s.name for s in equal}) == len(equal)
    for best, some, bad in zip(equal, close, worst, strict=True):
        sign = 1 if best.better == "higher" else -1
        assert sign * best.value >= sign * some.value >= sign * bad.value, best.name


@EVERY
def test_two_of_nothing_are_equal_only_where_nothing_is_a_number(kind: str) -> None:
    nothing = SAMPLES[kind][2]
    score = kinds.of(kind).scores(nothing, nothing)[0].value
    hold_nan = ("height_field", "feature_map", "feature_film", "importance_map", "tensors", "view")
    assert score == (0 if kind in hold_nan else 1)


@EVERY
def test_every_ending_is_written(kind: str, tmp_path: Path) -> None:
    asset = SAMPLES[kind][0]
    formats = kinds.of(kind).FILES
    assert formats
    for ending, format_ in formats.items():
        if format_.package:
            pytest.importorskip(format_.package)
        files.write(asset, tmp_path / f"a{ending}")
        assert (tmp_path / f"a{ending}").read_bytes() == format_(asset, ""), ending
    if ".npz" in formats:
        with np.load(tmp_path / "a.npz", allow_pickle=False) as kept:
            arrays = kinds.of(kind).arrays(asset)
            assert set(kept) == set(arrays)
            for name, values in arrays.items():
                np.testing.assert_array_equal(kept[name], values)


def test_scores_of_meshes_are_of_their_surfaces() -> None:
    """The threshold is 1.5 cells of the reference's own grid: 1/16 here."""
    one, other = ball(0.30), ball(0.33)
    known = surface_quality(one, other, 1 / 16)
    found = {s.name: s.value for s in kinds.of("mesh").scores(one, other)}
    assert found["f_score"] == known.f_score and found["chamfer"] == known.chamfer
    assert found["normal_consistency"] == known.normal_consistency
    assert (found["f_score_0.5"], found["f_score_3"]) == tuple(score for _, score in known.f_scores[1:])
    finer = {s.name: s.value for s in kinds.of("mesh").scores(replace(one, cell=None), replace(other, cell=None))}
    assert finer["f_score"] < found["f_score"]  # 1/64


def test_numbers_that_are_not_finite_pass_nothing() -> None:
    broken = replace(ball(), vertices=np.where(ball().vertices > 0.3, np.nan, ball().vertices).astype(np.float32))
    assert "vertices are not finite" in str(kinds.of("mesh").problem(broken))
    for pair in ((broken, ball()), (ball(), broken), (broken, broken)):
        scores = {s.name: s.value for s in kinds.of("mesh").scores(*pair)}
        assert scores["f_score"] == 0 and math.isinf(scores["chamfer"])


def test_depth_scores_of_known_values() -> None:
    one = DepthMap(np.array([[1.0, 2.0, np.inf, 1.0]], np.float32))
    other = DepthMap(np.array([[1.25, 2.0, np.inf, np.inf]], np.float32))
    delta1, abs_rel = kinds.of("depth_map").scores(one, other)
    assert delta1.value == depth_delta1([one.depth], [other.depth]) == pytest.approx(1 / 3)  # 1.25 itself is no hit
    assert abs_rel.value == pytest.approx(0.1) and abs_rel.better == "lower"
    behind = DepthMap(np.array([[-1.0, 2.0, np.inf, np.nan]], np.float32))
    assert "2 of 4 depths" in str(kinds.of("depth_map").problem(behind))


def test_a_height_field_is_a_surface_seen_from_above() -> None:
    mesh = heights().mesh()
    assert mesh.normals is not None and (mesh.normals[:, 2] > 0).all()
    assert len(mesh.faces) == 2 * 11 * 19
    north = mesh.vertices[:20]  # row 0
    assert (north[:, 1] == 0.5).all() and north[0, 0] == -0.5 and north[-1, 0] == 0.5


def test_a_sequence_is_judged_by_its_worst_item() -> None:
    alone = kinds.of("points").scores(points(0.03), points())
    assert kinds.of("sequence").scores(sequence(0.03), sequence()) == alone
    with pytest.raises(ValueError, match="items of one kind"):
        AssetSequence((points(), ball()), np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="rising times"):
        AssetSequence((points(), points()), np.array([1.0, 1.0]))


def test_kinds_import_no_room_above_them() -> None:
    """Assets know nothing of families, pages, bundles, backends or reports."""
    code = (
        "import sys\nfrom gen3dexport.assets import kinds\nkinds.names()\n"
        "import gen3dexport.assets.files, gen3dexport.assets.draw.field_render\n"
        "above = ('models', 'pages', 'bundle', 'backends', 'reports', 'runtime', 'validation', 'search', 'cli')\n"
        "print([m for m in sys.modules if m.startswith(tuple(f'gen3dexport.{a}' for a in above))])\n"
        "print([m for m in ('trimesh', 'scipy', 'skimage', 'pxr', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n[]\n"


def test_heights_keep_their_proportions_in_metres() -> None:
    field_ = heights()
    large = kinds.of("height_field").EDITS["size"](field_, 12.0)
    np.testing.assert_allclose(large.mesh().vertices, 12 * field_.mesh().vertices, rtol=1e-5)
    assert kinds.of("height_field").extent(large) == pytest.approx(12)
    again = kinds.of("height_field").from_arrays(kinds.of("height_field").arrays(large))
    assert again.edge == 12 and np.array_equal(again.heights, large.heights)


def test_sixteen_bits_of_a_map(tmp_path: Path) -> None:
    from PIL import Image

    made = importance()
    files.write(made, tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as image:
        assert np.abs(np.asarray(image) / 65535 - made.values).max() < 1e-5
    files.write(heights(), tmp_path / "heights.png")
    with Image.open(tmp_path / "heights.png") as image:
        steps, said = np.asarray(image), image.text
        assert (steps.min(), steps.max()) == (0, 65535) and said["edge"] == "1"
    flat = HeightField(np.full((4, 4), 0.5, np.float32))
    files.write(flat, tmp_path / "flat.png")
    with Image.open(tmp_path / "flat.png") as image:
        assert not np.asarray(image).any()


def test_importance_maps_of_one_value() -> None:
    one, other = (ImportanceMap(np.full((4, 4), value, np.float32)) for value in (0.5, 0.6))
    score = kinds.of("importance_map").scores
    assert score(one, one)[0].value == 1 and score(one, other)[0].value == 0 == score(one, importance_of(4))[0].value
    assert kinds.of("importance_map").problem(ImportanceMap(np.full((2, 2), 1.5, np.float32))) is not None


def importance_of(edge: int) -> ImportanceMap:
    return ImportanceMap(np.linspace(0, 1, edge * edge, dtype=np.float32).reshape(edge, edge))
