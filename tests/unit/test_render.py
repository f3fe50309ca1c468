"""The software renderer: geometry, occlusion, light, files."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from gen3dexport.assets.draw.lighting import key_light, sky_light, stage
from gen3dexport.assets.draw.rasterise import rasterise
from gen3dexport.assets.draw.render import depth_map, render, save_png, turntable
from gen3dexport.assets.mesh import Mesh, from_occupancy_logits, vertex_normals
from gen3dexport.errors import UsageError


def mesh_of(shape: trimesh.Trimesh, color: tuple[int, int, int] | None = None) -> Mesh:
    vertices, faces = np.asarray(shape.vertices, dtype=np.float32), np.asarray(shape.faces, dtype=np.int64)
    colors = None if color is None else np.tile(np.array([color], dtype=np.uint8), (len(vertices), 1))
    return Mesh(vertices, faces, vertex_normals(vertices, faces), colors)


def ball(radius: float = 0.4, centre: tuple[float, float, float] = (0, 0, 0), **kwargs: tuple[int, int, int]) -> Mesh:
    shape = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    shape.apply_translation(centre)
    return mesh_of(shape, **kwargs)


def joined(*parts: Mesh) -> Mesh:
    starts = np.cumsum([0] + [len(p.vertices) for p in parts[:-1]])
    return Mesh(
        np.concatenate([p.vertices for p in parts]),
        np.concatenate([p.faces + s for p, s in zip(parts, starts, strict=True)]),
        np.concatenate([p.normals for p in parts if p.normals is not None]),
        np.concatenate([p.colors for p in parts if p.colors is not None]),
    )


def share(picture: np.ndarray, channel: int) -> float:
    """Share of pixels where one channel clearly leads: only colored meshes do that, backdrop and shadow are grey."""
    others = np.delete(picture.astype(int), channel, axis=2).max(2)
    return float((picture[:, :, channel].astype(int) - others > 40).mean())


RED, BLUE = (220, 20, 20), (20, 20, 220)


def test_nearest_triangle_wins_in_either_order() -> None:
    points = np.array([[0, 0, 1], [8, 0, 1], [0, 8, 1], [0, 0, 2], [8, 0, 2], [0, 8, 2]], dtype=float)
    for faces in ([[0, 1, 2], [3, 4, 5]], [[3, 4, 5], [0, 1, 2]]):
        seen, weights = rasterise(points, np.array(faces), 8, 8)
        drawn = seen >= 0
        assert {tuple(faces[f]) for f in seen[drawn]} == {(3, 4, 5)}
        np.testing.assert_allclose(weights[drawn].sum(1), 1)
        assert drawn.sum() == 36  # pixel centres under the diagonal, those on it included
        _, columns = np.nonzero(drawn)
        x = (weights[drawn] * points[np.array(faces)[seen[drawn]], 0]).sum(1)
        np.testing.assert_allclose(x, columns + 0.5)


def test_shared_edges_leave_no_gap_and_the_frame_clips() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-4, 20, size=(60, 2))
    points[:4] = [[-5, -5], [21, -5], [21, 21], [-5, 21]]
    from scipy.spatial import Delaunay

    faces = Delaunay(points).simplices.astype(np.int64)
    seen, _ = rasterise(np.concatenate([points, np.ones((60, 1))], axis=1), faces, 16, 16)
    assert (seen >= 0).all()


def test_ball_is_a_disc_in_the_middle() -> None:
    picture = render(ball(color=RED), size=128)
    assert picture.shape == (128, 128, 3) and picture.dtype == np.uint8
    red = (picture[:, :, 0].astype(int) - picture[:, :, 1]) > 40
    rows, columns = np.nonzero(red)
    assert abs(rows.mean() - 63.5) < 2 and abs(columns.mean() - 63.5) < 2
    assert red.mean() == pytest.approx(np.pi / 4 * (np.ptp(rows) + 1) * (np.ptp(columns) + 1) / 128**2, rel=0.03)
    assert 0.85 < (np.ptp(rows) + 1) / 128 < 1  # the bounding sphere fills the frame and does not leave it


def test_camera_goes_around() -> None:
    """A red ball at +x hides a blue one at -x from azimuth 0, and is hidden from azimuth 180."""
    pair = joined(ball(0.2, (0.3, 0, 0), color=RED), ball(0.2, (-0.3, 0, 0), color=BLUE))
    front, rear = render(pair, 0, 0, 96), render(pair, 180, 0, 96)
    assert share(front, 0) > 0.05 and share(front, 2) < 0.002
    assert share(rear, 2) > 0.05 and share(rear, 0) < 0.002
    side = render(pair, -90, 0, 96)  # from -y: +x is on the right
    red = np.nonzero(side[:, :, 0].astype(int) - side[:, :, 2] > 40)[1].mean()
    blue = np.nonzero(side[:, :, 2].astype(int) - side[:, :, 0] > 40)[1].mean()
    assert red > 60 and blue < 36


def test_up_is_up() -> None:
    pair = joined(ball(0.2, (0, 0, 0.3), color=RED), ball(0.2, (0, 0, -0.3), color=BLUE))
    rows = np.nonzero(render(pair, 0, 10, 96)[:, :, 0].astype(int) - render(pair, 0, 10, 96)[:, :, 2] > 40)[0]
    assert rows.mean() < 40


def test_shadow_darkens_the_ground_only() -> None:
    shape = ball(color=RED)
    lit, plain = (render(shape, size=128, shadow=s).astype(int) for s in (True, False))
    difference = (plain - lit).sum(2)
    assert difference.min() >= 0 and difference.max() > 60
    red = plain[:, :, 0] - plain[:, :, 1] > 40
    assert difference[red].max() < 30  # at most blended edge pixels
    assert not difference[:40].any()  # nothing above the horizon of the shadow
    below = render(shape, elevation=-30, size=64), render(shape, elevation=-30, size=64, shadow=False)
    np.testing.assert_array_equal(*below)  # no ground seen from under it


def test_a_roof_takes_the_light_of_what_is_under_it() -> None:
    roof = trimesh.creation.box(extents=(1, 1, 0.05))
    roof.apply_translation([0, 0, 0.45])
    floor = trimesh.creation.box(extents=(1, 1, 0.05)).subdivide().subdivide()
    floor.apply_translation([0, 0, -0.45])
    scene = stage(mesh_of(trimesh.util.concatenate([floor, roof])))
    middle = np.flatnonzero((np.abs(scene.vertices[:, :2]) < 0.01).all(1) & (scene.vertices[:, 2] > -0.43))
    top = np.flatnonzero(scene.vertices[:, 2] > 0.47)
    above = np.array([0.0, 0.1, 1.0]) / np.linalg.norm([0, 0.1, 1])
    key, sky = key_light(scene, above), sky_light(scene)
    assert key.vertices[middle].max() == 0 and key.vertices[top].min() == 1
    assert sky.vertices[middle].max() < 0.8 and sky.vertices[top].min() > 0.95
    corner, centre = key.ground[2, 2], key.ground[len(key.ground) // 2, len(key.ground) // 2]
    assert corner == 1 and centre < 0.01


def test_turntable_shows_every_view() -> None:
    pair = joined(ball(0.2, (0.3, 0, 0), color=RED), ball(0.2, (-0.3, 0, 0), color=BLUE))
    sheet = turntable(pair, views=6, size=48, columns=4)
    assert sheet.shape == (96, 192, 3)
    tiles = [sheet[r : r + 48, c : c + 48] for r in (0, 48) for c in range(0, 192, 48)]
    assert (tiles[6] == 255).all() and (tiles[7] == 255).all()
    np.testing.assert_array_equal(tiles[0], render(pair, size=48))
    assert len({t.tobytes() for t in tiles[:6]}) == 6


def test_same_mesh_same_pixels() -> None:
    np.testing.assert_array_equal(render(ball(), size=64), render(ball(), size=64))


def test_twenty_thousand_faces_take_seconds() -> None:
    grid = (np.arange(64) + 0.5) / 64 - 0.5
    x, y, z = np.meshgrid(grid, grid, grid, indexing="ij")
    mesh = from_occupancy_logits(0.36 - np.hypot(np.hypot(x, y), z) + 0.06 * np.sin(20 * x) * np.sin(20 * y))
    assert len(mesh.faces) > 20_000
    start = time.process_time()
    picture = render(mesh)
    assert time.process_time() - start < 6  # 1.3 s on an idle core; CPU time, with room for slow machines
    assert picture.shape == (512, 512, 3)


def test_png_is_written_whole(tmp_path: Path) -> None:
    picture = render(ball(), size=32)
    save_png(picture, tmp_path / "new" / "a.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "new" / "a.png")), picture)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        save_png(picture, tmp_path / "file" / "a.png")


def test_nothing_to_draw() -> None:
    empty = Mesh(np.zeros((0, 3), dtype=np.float32), np.zeros((0, 3), dtype=np.int64))
    with pytest.raises(ValueError, match="no faces"):
        render(empty)


def test_depth_is_measured_from_the_cubes_sphere() -> None:
    """A ball of radius 0.3 seen from any side is nearest at its own radius under the sphere's."""
    grid = np.stack(np.meshgrid(*[(np.arange(48) + 0.5) / 48 - 0.5] * 3, indexing="ij"), -1)
    ball = from_occupancy_logits(0.3 - np.linalg.norm(grid, axis=-1))
    depth = depth_map(ball, azimuth=70, elevation=30, size=65)
    assert depth[32, 32] == pytest.approx(np.sqrt(0.75) - 0.3, abs=0.01) == depth.min()
    assert np.isinf(depth[0, 0]) and 0.05 < np.isfinite(depth).mean() < 0.3
