"""Meshes out of occupancy, and their files."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh
from full_disk import files_end_at

from gen3dexport.assets.mesh import Mesh, from_occupancy_logits, vertex_normals
from gen3dexport.assets.mesh_files import FORMATS, read, write
from gen3dexport.errors import AccuracyError, UsageError, VerificationError

R = 16
GRID = (np.arange(R) + 0.5) / R - 0.5
X, Y, Z = np.meshgrid(GRID, GRID, GRID, indexing="ij")


def ball(radius: float, centre: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    x, y, z = centre
    return (radius - np.sqrt((X - x) ** 2 + (Y - y) ** 2 + (Z - z) ** 2)).astype(np.float32)


def solid(mesh: Mesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)


def test_ball_has_its_place_volume_and_outward_normals() -> None:
    centre = (0.1, -0.05, 0.15)
    mesh = from_occupancy_logits(ball(0.3, centre))
    assert mesh.vertices.dtype == np.float32 and mesh.faces.dtype == np.int64
    assert solid(mesh).is_watertight and solid(mesh).is_winding_consistent
    assert solid(mesh).volume == pytest.approx(4 / 3 * np.pi * 0.3**3, rel=0.03)
    outward = mesh.vertices - np.array(centre)
    np.testing.assert_allclose(np.linalg.norm(outward, axis=1), 0.3, atol=0.01)
    assert mesh.normals is not None
    assert (mesh.normals * outward).sum(1).min() > 0.25  # 0.3 * cosine


def test_axes_are_x_y_z() -> None:
    logits = np.full((R, R, R), -1.0)
    logits[2, 7, 12] = 1.0
    centre = from_occupancy_logits(logits).vertices.mean(0)
    np.testing.assert_allclose(centre, [(i + 0.5) / R - 0.5 for i in (2, 7, 12)], atol=1e-6)


def test_full_grid_ends_on_the_cube() -> None:
    mesh = from_occupancy_logits(np.ones((R, R, R)))
    assert mesh.vertices.min() == -0.5 and mesh.vertices.max() == 0.5
    assert solid(mesh).is_watertight


@pytest.mark.parametrize("kind", ["smooth", "ties", "saturated", "sparse"])
@pytest.mark.parametrize("seed", range(4))
def test_any_field_closes(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = {
        "smooth": rng.normal(size=(R, R, R)),
        "ties": rng.integers(-1, 2, size=(R, R, R)).astype(float),  # zeros lie exactly on the surface
        "saturated": rng.choice([-20.0, 20.0], size=(R, R, R)),
        "sparse": rng.normal(size=(R, R, R)) - 2,
    }[kind]
    shape = solid(from_occupancy_logits(logits))
    assert shape.is_watertight and shape.is_winding_consistent and shape.volume > 0


def test_level_moves_the_surface() -> None:
    assert solid(from_occupancy_logits(ball(0.4), level=0.1)).volume == pytest.approx(4 / 3 * np.pi * 0.3**3, rel=0.03)


def test_nothing_generated() -> None:
    with pytest.raises(AccuracyError, match="another seed"):
        from_occupancy_logits(np.full((4, 4, 4), -1.0))
    with pytest.raises(AccuracyError, match="not finite"):
        from_occupancy_logits(np.full((4, 4, 4), np.nan))


def test_shape_is_checked() -> None:
    with pytest.raises(UsageError, match="drop batch"):
        from_occupancy_logits(np.ones((1, 4, 4, 4)))


@pytest.mark.parametrize("ending", FORMATS)
def test_round_trip(ending: str, tmp_path: Path) -> None:
    mesh = from_occupancy_logits(ball(0.2, (0.1, 0.2, -0.2)))
    path = tmp_path / "new" / f"a{ending}"
    write(mesh, path)
    back = read(path)
    assert os.listdir(path.parent) == [path.name]  # no temporary file stays
    assert len(back.vertices) == len(mesh.vertices) and len(back.faces) == len(mesh.faces)
    np.testing.assert_allclose(back.vertices.mean(0), mesh.vertices.mean(0), atol=1e-5)
    assert solid(back).volume == pytest.approx(solid(mesh).volume, rel=1e-4)
    assert back.normals is not None and mesh.normals is not None
    assert back.normals[back.vertices[:, 2].argmax(), 2] > 0.9  # the top looks up
    if ending != ".stl":  # an STL stores corners, so the order of vertices is lost
        np.testing.assert_allclose(back.vertices, mesh.vertices, atol=1e-6)
        np.testing.assert_allclose(back.normals, mesh.normals, atol=1e-3)


@pytest.mark.parametrize("ending", FORMATS)
def test_same_mesh_same_bytes(ending: str, tmp_path: Path) -> None:
    for name in "ab":
        write(from_occupancy_logits(ball(0.2)), tmp_path / f"{name}{ending}")
    assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()


def test_glb_is_y_up(tmp_path: Path) -> None:
    mesh = from_occupancy_logits(ball(0.1, (0, 0, 0.3)))
    write(mesh, tmp_path / "a.glb")
    raw = trimesh.load_mesh(tmp_path / "a.glb")
    np.testing.assert_allclose(raw.vertices.mean(0), [0, mesh.vertices[:, 2].mean(), 0], atol=1e-5)


@pytest.mark.parametrize("ending, stored", [(".glb", b'"NORMAL"'), (".obj", b"\nvn "), (".ply", b"property float nx")])
def test_normals_are_stored(ending: str, stored: bytes, tmp_path: Path) -> None:
    write(from_occupancy_logits(ball(0.2)), tmp_path / f"a{ending}")
    assert stored in (tmp_path / f"a{ending}").read_bytes()


def test_colors_survive(tmp_path: Path) -> None:
    mesh = from_occupancy_logits(ball(0.2))
    colors = np.tile(np.array([[10, 200, 30]], dtype=np.uint8), (len(mesh.vertices), 1))
    for ending in (".ply", ".glb"):
        write(Mesh(mesh.vertices, mesh.faces, mesh.normals, colors), tmp_path / f"a{ending}")
        back = read(tmp_path / f"a{ending}")
        assert back.colors is not None and (back.colors == colors).all()


def test_mesh_arrays_are_checked() -> None:
    triangle = np.zeros((3, 3), dtype=np.float32)
    with pytest.raises(ValueError, match="to 3, but there are 3"):
        Mesh(triangle, np.array([[0, 1, 3]]))
    with pytest.raises(ValueError, match="normals have shape"):
        Mesh(triangle, np.array([[0, 1, 2]]), normals=np.zeros((2, 3), dtype=np.float32))


def test_every_vertex_has_a_unit_normal() -> None:
    """One without a face of area has any: a file may hold none of length 0."""
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]], dtype=np.float32)
    np.testing.assert_array_equal(vertex_normals(vertices, np.array([[0, 1, 2]]))[[0, 3]], [[0, 0, 1], [0, 0, 1]])


def test_bad_outputs(tmp_path: Path) -> None:
    mesh = from_occupancy_logits(ball(0.2))
    with pytest.raises(UsageError, match=r"\.glb, \.obj, \.ply, \.stl"):
        write(mesh, tmp_path / "a.fbx")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        write(mesh, tmp_path / "file" / "a.glb")
    (tmp_path / "folder.glb").mkdir()
    with pytest.raises(UsageError, match="cannot be written"):
        write(mesh, tmp_path / "folder.glb")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.glb"]


def test_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    mesh, path = from_occupancy_logits(ball(0.2)), tmp_path / "asset.stl"
    path.write_bytes(b"old")
    with files_end_at(1000), pytest.raises(UsageError, match="cannot be written"):
        write(mesh, path)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["asset.stl"]


@pytest.mark.parametrize("ending", [".glb", ".obj", ".ply", ".stl"])
def test_a_mesh_without_triangles_is_no_file(ending: str, tmp_path: Path) -> None:
    empty = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64))
    with pytest.raises(UsageError, match="without triangles"):
        write(empty, tmp_path / f"a{ending}")
    assert not os.listdir(tmp_path)


def test_bad_inputs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read(tmp_path / "none.glb")
    broken = tmp_path / "broken.glb"
    broken.write_bytes(b"glTF" + struct.pack("<II", 2, 999))
    with pytest.raises(VerificationError, match="write it again"):
        read(broken)
