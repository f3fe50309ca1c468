"""What users ask of files: sizes, fewer faces, no crumbs, harmonics; and the frames that `run --help` lists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from gen3dexport.assets import files
from gen3dexport.assets.asset import Asset
from gen3dexport.assets.edits import Edits
from gen3dexport.assets.gaussians import Gaussians
from gen3dexport.assets.mesh import Mesh, from_occupancy_logits, is_closed
from gen3dexport.assets.mesh_files import read
from gen3dexport.assets.points import Points
from gen3dexport.errors import UsageError
from gen3dexport.pages import viewer

R = 48
X, Y, Z = np.meshgrid(*[(np.arange(R) + 0.5) / R - 0.5] * 3, indexing="ij")


def chair() -> Mesh:
    """Something with a flat part and a crumb beside it; its colours are its places."""
    body = np.minimum(0.35 - np.sqrt(X**2 + 2 * Y**2 + Z**2), 0.05 - np.abs(Z))
    crumb = 0.04 - np.sqrt((X - 0.4) ** 2 + (Y - 0.4) ** 2 + (Z - 0.4) ** 2)
    mesh = from_occupancy_logits(np.maximum(body, crumb))
    return replace(mesh, colors=np.rint(255 * (mesh.vertices + 0.5)).astype(np.uint8))


def solid(mesh: Mesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)


def some_gaussians() -> Gaussians:
    rng = np.random.default_rng(0)
    return Gaussians(
        rng.uniform(-0.4, 0.4, (30, 3)).astype(np.float32),
        np.full((30, 3), 0.02, np.float32),
        rng.standard_normal((30, 4)).astype(np.float32),
        np.full(30, 0.5, np.float32),
        rng.uniform(-1, 1, (30, 1, 3)).astype(np.float32),
    )


def applied(edits: Edits, asset: Asset, ending: str) -> Mesh:
    format_ = files.format_of(asset.kind, Path(f"a{ending}"), viewer.FILES)
    made: Mesh = edits.applied(asset, edits.factor(asset), format_)
    return made


@pytest.mark.parametrize("count", [3000, 500])
def test_fewer_faces_keep_shape_and_colours(count: int) -> None:
    pytest.importorskip("fast_simplification")
    before = chair()
    after = applied(Edits(max_faces=count), before, ".glb")
    assert count / 2 < len(after.faces) <= count < len(before.faces)
    assert is_closed(after.faces) and solid(after).volume == pytest.approx(solid(before).volume, rel=0.03)
    assert after.colors is not None and after.normals is not None
    place = after.vertices.astype(np.float64) + 0.5
    assert np.abs(after.colors - 255 * place).max() < 255 / R  # less than a cell away
    assert applied(Edits(max_faces=10**6), before, ".glb") is before


def test_the_largest_part_stays_alone() -> None:
    before = chair()
    assert len(solid(before).split()) == 2
    after = applied(Edits(largest_part=True), before, ".glb")
    parts = sorted(solid(before).split(), key=lambda part: part.area)
    assert is_closed(after.faces) and solid(after).area == pytest.approx(parts[1].area)
    assert after.colors is not None and len(after.colors) == len(after.vertices) < len(before.vertices)
    np.testing.assert_array_equal(after.colors, np.rint(255 * (after.vertices + 0.5)))
    assert after.normals is not None and len(after.normals) == len(after.vertices)


def test_a_size_is_in_metres_and_in_millimetres_in_an_stl(tmp_path: Path) -> None:
    for ending, longest in ((".glb", 0.8), (".obj", 0.8), (".ply", 0.8), (".stl", 800.0)):
        files.write(applied(Edits(size=0.8), chair(), ending), tmp_path / f"a{ending}")
        assert np.ptp(read(tmp_path / f"a{ending}").vertices, axis=0).max() == pytest.approx(longest, rel=1e-5)
    pytest.importorskip("pxr")
    from pxr import Usd, UsdGeom

    files.write(applied(Edits(size=0.8), chair(), ".usda"), tmp_path / "a.usda")
    stage = Usd.Stage.Open(str(tmp_path / "a.usda"))
    points = np.array(UsdGeom.Mesh(stage.GetDefaultPrim()).GetPointsAttr().Get())
    assert np.ptp(points, axis=0).max() * UsdGeom.GetStageMetersPerUnit(stage) == pytest.approx(0.8, rel=1e-5)


def test_all_files_of_a_run_are_scaled_alike() -> None:
    edits, mesh, cloud = Edits(size=2.0), chair(), some_gaussians()
    factor = edits.factor(mesh)
    glb, ply = files.format_of("mesh", Path("a.glb")), files.format_of("gaussians", Path("a.ply"))
    np.testing.assert_allclose(edits.applied(mesh, factor, glb).vertices, mesh.vertices * factor, rtol=1e-6)
    scaled = edits.applied(cloud, factor, ply)
    np.testing.assert_allclose(scaled.positions, cloud.positions * factor, rtol=1e-6)
    np.testing.assert_allclose(scaled.scales, cloud.scales * factor, rtol=1e-6)
    page = edits.applied(mesh, factor, viewer.FILES[".html"])
    assert page is mesh  # a page has no unit


def test_the_crumb_does_not_count_for_the_size() -> None:
    edits = Edits(largest_part=True, size=1.0)
    assert np.ptp(applied(edits, chair(), ".glb").vertices, axis=0).max() == pytest.approx(1.0, rel=1e-5)


def test_harmonics_are_asked_for(tmp_path: Path) -> None:
    files.write(applied(Edits(sh_degree=3), some_gaussians(), ".ply"), tmp_path / "a.ply")
    assert b"property float f_rest_44\n" in (tmp_path / "a.ply").read_bytes()


@pytest.mark.parametrize(
    ("edits", "written", "message"),
    [
        (Edits(size=0.0), ["mesh"], "needs a length in metres above 0"),
        (Edits(size=float("nan")), ["mesh"], "needs a length"),
        (Edits(sh_degree=4), ["gaussians"], "needs 0 to 3"),
        (Edits(max_faces=100), ["gaussians"], "--max-faces: is of mesh, sequence; a file of this run holds gaussians"),
        (Edits(largest_part=True), ["points"], "--largest-part: is of mesh"),
        (Edits(sh_degree=3), ["mesh"], "--sh-degree: is of gaussians"),
        (Edits(size=1.0), ["mesh", "voxels"], "--size: is of .*; a file of this run holds voxels"),
    ],
)
def test_what_no_file_can_have_is_refused(edits: Edits, written: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        edits.check(written)


def test_what_one_file_has_the_others_need_not() -> None:
    Edits(max_faces=100, sh_degree=3, size=1.0).check(["mesh", "gaussians"])
    assert applied(Edits(max_faces=100), some_gaussians(), ".ply").kind == "gaussians"


def test_impossible_counts_are_refused() -> None:
    pytest.importorskip("fast_simplification")
    with pytest.raises(UsageError, match="4 at least"):
        applied(Edits(max_faces=3), chair(), ".glb")
    point = Points(np.zeros((3, 3), np.float32))
    with pytest.raises(UsageError, match="the asset is a point"):
        Edits(size=1.0).factor(point)


def test_the_frames_of_all_endings_are_in_the_docs() -> None:
    rows = files.frames(viewer.FILES)
    assert {ending for names, *_ in rows for ending in names.split()} == set(files.endings(viewer.FILES))
    cells = [(" ".join(f"`{name}`" for name in names.split()), *rest) for names, *rest in rows]
    table = "\n".join(f"| {' | '.join(cell or '–' for cell in row)} |" for row in cells)
    text = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    assert table in text, f"docs/formats.md: its table must be:\n{table}"
