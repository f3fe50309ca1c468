"""Maps of depth: inverse ones, their files and scores, and the points and meshes that they make."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gen3dexport.assets import files, kinds
from gen3dexport.assets.colour import linear_light
from gen3dexport.assets.depth_geometry import FARTHEST, cloud, surface
from gen3dexport.assets.depth_map import DepthMap
from gen3dexport.assets.edits import Edits
from gen3dexport.assets.mesh_files import read
from gen3dexport.errors import UsageError
from gen3dexport.models.image_preparation import read_image

MODULE = kinds.of("depth_map")
RNG = np.random.default_rng(0)


def room(inverse: bool = False, wide: float | None = 60.0) -> DepthMap:
    """A wall 4 m away, and a board 2 m away before its middle."""
    depth = np.full((30, 40), 4.0, np.float32)
    depth[10:20, 15:25] = 2
    return DepthMap(1 / depth, False, wide, True) if inverse else DepthMap(depth, True, wide)


def colors(height: int = 30, width: int = 40) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def everywhere(height: int = 30, width: int = 40) -> np.ndarray:
    return np.ones((height, width), bool)


def test_inverse_maps_are_kept_whole_and_are_not_metric() -> None:
    asset = room(True)
    again = MODULE.from_arrays(MODULE.arrays(asset))
    assert again.inverse and not again.metric and again.field_of_view == 60
    np.testing.assert_array_equal(again.depth, asset.depth)
    assert "inverse" not in MODULE.arrays(room())
    with pytest.raises(ValueError, match="not metric"):
        DepthMap(asset.depth, metric=True, inverse=True)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1])
def test_inverse_maps_are_finite_numbers_from_0(value: float) -> None:
    asset = room(True)
    asset.depth[3, 4] = value
    assert "1 of 1200 depths are not finite numbers from 0" in str(MODULE.problem(asset))
    assert MODULE.scores(asset, room(True))[0].value == 0
    asset.depth[3, 4] = 0
    assert MODULE.problem(asset) is None
    assert "nothing is seen" in str(MODULE.problem(replace(asset, depth=np.zeros_like(asset.depth))))


def test_factor_and_addend_of_inverse_maps_cost_nothing() -> None:
    reference = DepthMap(RNG.uniform(0.2, 1, (20, 30)).astype(np.float32), inverse=True)
    other = replace(reference, depth=3 * reference.depth + 2)
    delta1, abs_rel = MODULE.scores(other, reference)
    assert (delta1.value, abs_rel.value) == (1, pytest.approx(0, abs=1e-5))
    noisy = replace(other, depth=other.depth + RNG.uniform(0, 2, (20, 30)).astype(np.float32))
    upside_down = replace(reference, depth=2 - reference.depth)
    constant = replace(reference, depth=np.ones_like(reference.depth))
    some = [MODULE.scores(asset, reference)[0].value for asset in (noisy, constant, upside_down)]
    assert 1 > some[0] > some[1] == some[2] > 0
    with pytest.raises(ValueError, match="one of the maps is of inverse depths"):
        MODULE.scores(reference, replace(reference, inverse=False))


def test_a_score_of_known_inverse_maps() -> None:
    """Depths 1, 2, 4 and 8 against themselves with the last two swapped, fitted by least squares."""
    reference = DepthMap(np.array([[1, 1 / 2, 1 / 4, 1 / 8]], np.float32), inverse=True)
    asset = DepthMap(np.array([[1, 1 / 2, 1 / 8, 1 / 4]], np.float32), inverse=True)
    design = np.stack([asset.depth[0], np.ones(4)], 1).astype(float)
    fitted = design @ np.linalg.lstsq(design, reference.depth[0].astype(float), rcond=None)[0]
    ratio = np.maximum(fitted * [1, 2, 4, 8], 1 / (fitted * [1, 2, 4, 8]))
    delta1, abs_rel = MODULE.scores(asset, reference)
    assert delta1.value == (ratio < 1.25).mean() == 0.5
    assert abs_rel.value == pytest.approx(np.abs(1 / fitted / [1, 2, 4, 8] - 1).mean(), rel=1e-5)


def _png(asset: DepthMap) -> tuple[np.ndarray, dict[str, str]]:
    with Image.open(io.BytesIO(MODULE.FILES[".png"](asset))) as picture:
        return np.asarray(picture), dict(picture.info)


def test_metric_pngs_are_in_millimetres_or_256ths() -> None:
    depth = np.array([[0.5, 65.5], [1.2344, np.inf]], np.float32)
    values, said = _png(DepthMap(depth, metric=True))
    assert values.dtype == np.uint16 and values.tolist() == [[500, 65500], [1234, 0]]
    assert (said["steps_per_metre"], said["quantity"]) == ("1000", "depth in metres")
    values, said = _png(DepthMap(np.array([[80.0, 2.0]], np.float32), metric=True))
    assert values.tolist() == [[80 * 256, 512]] and said["steps_per_metre"] == "256"


@pytest.mark.parametrize("inverse", [True, False])
def test_relative_pngs_say_their_ends(inverse: bool) -> None:
    asset = DepthMap(RNG.uniform(0.5, 3, (6, 7)).astype(np.float32), inverse=inverse)
    values, said = _png(asset)
    low, high = float(said["low"]), float(said["high"])
    assert values.min() == 1 and values.max() == 65535
    np.testing.assert_allclose(low + (values - 1.0) / 65534 * (high - low), asset.depth, atol=1e-4)


def test_near_is_bright_in_pictures_of_both() -> None:
    for asset in (room(), room(True)):
        picture = MODULE.picture(asset).astype(int).sum(-1)
        assert (picture[10:20, 15:25] > picture[0, 0]).all()


def test_exr_holds_the_depths_themselves(tmp_path: Path) -> None:
    package = pytest.importorskip("OpenEXR")
    depth = np.array([[0.5, 65.123456], [1e-3, np.inf]], np.float32)
    files.write(DepthMap(depth, True, 55.0), tmp_path / "a.exr")
    files.write(room(True, None), tmp_path / "b.exr")
    with package.File(str(tmp_path / "a.exr")) as file:
        channels, header = file.channels(), file.header()
        assert {*channels} == {"Z", "P.X", "P.Y", "P.Z"} and channels["Z"].pixels.dtype == np.float32
        np.testing.assert_array_equal(channels["Z"].pixels, depth)
        focal = 1 / np.tan(np.radians(27.5))
        found = [channels[f"P.{axis}"].pixels[0, 0] for axis in "XYZ"]
        np.testing.assert_allclose(found, [0.5 * -0.5 / focal, 0.5 * 0.5 / focal, -0.5], rtol=1e-5)
        assert channels["P.Z"].pixels[1, 1] == 0  # where nothing is seen
        assert header["quantity"] == "depth in metres" and header["fieldOfView"] == pytest.approx(55)
    with package.File(str(tmp_path / "b.exr")) as file:
        assert [*file.channels()] == ["Z"]
        assert file.header()["quantity"] == "inverse depth, relative"


def test_normals_are_kept_and_turned_for_compositing(tmp_path: Path) -> None:
    package = pytest.importorskip("OpenEXR")
    normals = np.zeros((30, 40, 3), np.float32)
    normals[..., :] = (0.6, 0.0, -0.8)
    asset = replace(room(), normals=normals)
    np.testing.assert_array_equal(MODULE.from_arrays(MODULE.arrays(asset)).normals, normals)
    files.write(asset, tmp_path / "a.exr")
    with package.File(str(tmp_path / "a.exr"), separate_channels=True) as file:
        found = [file.channels()[f"N.{axis}"].pixels[3, 4] for axis in "XYZ"]
    np.testing.assert_allclose(found, [0.6, 0, 0.8])
    with pytest.raises(ValueError, match=r"normals have shape \[30, 40\]"):
        replace(asset, normals=normals[..., 0])


def _plate(path: Path, **channels: np.ndarray) -> Path:
    from gen3dexport.assets import exr

    path.write_bytes(exr.content(channels, {}))
    return path


def test_plates_in_linear_light_are_read(tmp_path: Path) -> None:
    pytest.importorskip("OpenEXR")
    light = np.array([[0.0, 0.2158605, 1.0, 7.5, np.nan]], np.float32)
    half = np.full_like(light, 0.5)
    made = read_image(_plate(tmp_path / "a.exr", R=light, G=light, B=np.zeros_like(light)))
    assert np.asarray(made)[0].tolist() == [[0, 0, 0], [128, 128, 0], [255, 255, 0], [255, 255, 0], [0, 0, 0]]
    assert np.asarray(read_image(_plate(tmp_path / "y.exr", Y=light)))[0, 1].tolist() == [128] * 3
    made = read_image(_plate(tmp_path / "rgba.EXR", R=light / 2, G=light / 2, B=light / 2, A=half))
    assert np.asarray(made)[0, 1].tolist() == [128, 128, 128, 128]  # colours there are times alpha
    with pytest.raises(UsageError, match="has channels Z; a picture has R, G and B, or Y"):
        read_image(_plate(tmp_path / "z.exr", Z=light))
    data = (tmp_path / "a.exr").read_bytes()
    (tmp_path / "cut.exr").write_bytes(data[: len(data) // 2])
    for name in ("cut", "nowhere"):
        with pytest.raises(UsageError, match=rf"{name}\.exr: not a readable image"):
            read_image(tmp_path / f"{name}.exr")


def test_points_lie_where_the_camera_sees_them() -> None:
    """60 degrees over 40 pixels; the camera at the origin looks along -x, +y is right, z is up."""
    shades = colors()
    points = cloud(room(), shades, everywhere())
    assert points.unit is not None and len(points.positions) == 1200
    places = (points.positions * points.unit).reshape(30, 40, 3)
    focal = 20 / np.tan(np.radians(30))
    np.testing.assert_allclose(places[0, 0], [-4, 4 * -19.5 / focal, 4 * 14.5 / focal], rtol=1e-5)
    np.testing.assert_allclose(places[15, 20], [-2, 2 * 0.5 / focal, 2 * -0.5 / focal], rtol=1e-5)
    np.testing.assert_array_equal(points.colors, shades.reshape(-1, 3))
    assert np.abs(points.positions).max() == pytest.approx(0.5)


def test_what_is_not_shown_or_not_seen_has_no_points() -> None:
    asset, shown = room(), everywhere()
    asset.depth[0, :] = np.inf
    shown[:, 0] = False
    assert len(cloud(asset, colors(), shown).positions) == 29 * 39
    assert len(surface(asset, colors(), shown, 9).faces) == 2 * 28 * 38
    nothing = cloud(asset, colors(), np.zeros((30, 40), bool))
    assert len(nothing.positions) == 0 and kinds.of("points").problem(nothing)
    assert not len(surface(asset, colors(), np.zeros((30, 40), bool), 9).faces)


def test_inverse_maps_make_space_without_a_unit() -> None:
    """Its addend is taken as 0, and what is far beyond the nearest as nothing."""
    asset = room(True)
    asset.depth[:5] = 0.5 / FARTHEST
    points, metric = cloud(asset, colors(), everywhere()), cloud(room(), colors(), everywhere())
    assert points.unit is None and len(points.positions) == 25 * 40
    ratio = points.positions[:, 0] / metric.positions[200:, 0]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)


def test_meshes_are_cut_at_steps_and_face_the_camera() -> None:
    mesh = surface(room(), colors(), everywhere(), 0.5)
    crossed = 11 * 11 - 9 * 9  # cells over the board's edge; two of them have a triangle beside it
    assert len(mesh.faces) == 2 * (29 * 39 - crossed) + 2
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces].astype(float), 1, 0)
    assert ((np.cross(b - a, c - a) * a).sum(1) < 0).all()  # the camera is at the origin
    whole = surface(room(), colors(), everywhere(), 1.5)
    assert len(whole.faces) == 2 * 29 * 39 and len(whole.vertices) == 1200
    assert mesh.unit == whole.unit is not None and mesh.cell == 1 / 40


def test_space_needs_a_field_of_view_and_colours_of_its_size() -> None:
    with pytest.raises(ValueError, match="no field of view"):
        cloud(room(wide=None), colors(), everywhere())
    with pytest.raises(ValueError, match=r"colours \[20, 40, 3\] and mask \[30, 40\] are not of 30 x 40"):
        cloud(room(), colors(20), everywhere())


def test_files_are_in_metres_where_these_are_known(tmp_path: Path) -> None:
    mesh = surface(room(), colors(), everywhere(), 0.5)
    format_ = kinds.of("mesh").FILES[".glb"]
    written = Edits().applied(mesh, 1.0, format_)
    assert written.unit == 1.0 and -written.vertices[:, 0].min() == pytest.approx(4)
    files.write(written, tmp_path / "a.glb")
    assert -read(tmp_path / "a.glb").vertices[:, 0].min() == pytest.approx(4, rel=1e-5)
    stl = Edits().applied(mesh, 1.0, kinds.of("mesh").FILES[".stl"])
    assert -stl.vertices[:, 0].min() == pytest.approx(4000)
    asked = Edits(size=2.0)
    sized = asked.applied(mesh, asked.factor(mesh), format_)
    assert np.ptp(sized.vertices, 0).max() == pytest.approx(2)
    unknown = surface(room(True), colors(), everywhere(), 0.5)
    assert Edits().applied(unknown, 1.0, format_) is unknown


def test_units_are_kept() -> None:
    mesh, points = surface(room(), colors(), everywhere(), 0.5), cloud(room(), colors(), everywhere())
    for asset in (mesh, points):
        module = kinds.of(asset)
        assert module.from_arrays(module.arrays(asset)).unit == asset.unit
        assert asset.scaled(2).unit == pytest.approx(asset.unit / 2)


def test_points_in_a_glb_are_points_in_linear_light() -> None:
    points = cloud(room(), colors(), everywhere())
    data = kinds.of("points").FILES[".glb"](points)
    length = int.from_bytes(data[12:16], "little")
    document = json.loads(data[20 : 20 + length])
    (primitive,) = document["meshes"][0]["primitives"]
    assert primitive["mode"] == 0 and "indices" not in primitive
    where, shade = (document["accessors"][primitive["attributes"][n]] for n in ("POSITION", "COLOR_0"))
    assert (where["count"], shade["count"], where["type"]) == (1200, 1200, "VEC3")
    binary = data[28 + length :]
    x, y, z = np.frombuffer(binary, "<f4", 3600).reshape(-1, 3).T
    np.testing.assert_allclose(np.stack([x, -z, y], 1), points.positions, atol=1e-7)
    found = np.frombuffer(binary, "<f4", 3600, 4 * 3600)
    np.testing.assert_allclose(found, linear_light(points.colors / 255).ravel(), atol=1e-6)
