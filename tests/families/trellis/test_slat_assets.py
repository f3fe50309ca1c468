"""Gaussians and meshes of decoder features: records, FlexiCubes' cases, closed surfaces, empty and bad input."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from gen3dexport.assets import kinds
from gen3dexport.assets.gaussian_files import ply_rows
from gen3dexport.assets.gaussians import Gaussians, quaternions_of, rotation_matrices
from gen3dexport.errors import AccuracyError, UsageError
from gen3dexport.models.trellis.host.configs import NETWORKS
from gen3dexport.models.trellis.host.cube_cases import EDGES, ambiguity, edge_groups, group_counts
from gen3dexport.models.trellis.host.gaussian_attributes import CHANNELS, Representation, attributes, perturbation
from gen3dexport.models.trellis.host.mesh_features import dual_mesh, mesh_of

R = 32


def sphere(radius: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Features [N, 101] and cubes [N, 3] of a sphere: distances at corners, no deformation, colour by position."""
    cubes = np.stack(np.meshgrid(*[np.arange(R)] * 3, indexing="ij"), -1).reshape(-1, 3)
    centre = (cubes + 0.5) / R - 0.5
    cubes = cubes[np.linalg.norm(centre, axis=1) < radius + 3 / R]
    corners = cubes[:, None] + np.array([(k & 1, k >> 1 & 1, k >> 2 & 1) for k in range(8)])
    points = corners / R - 0.5
    features = np.zeros((len(cubes), 101), np.float32)
    features[:, :8] = np.linalg.norm(points, axis=-1) - radius + 1 / R  # the decoder's distances have this bias
    features[:, 53:] = np.concatenate([10 * points, np.zeros_like(points)], -1).reshape(len(cubes), -1)
    return features, cubes


def test_sphere_is_closed_outward_and_coloured() -> None:
    mesh = mesh_of(*sphere(), resolution=R)
    surface = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert surface.is_watertight
    assert surface.is_winding_consistent
    assert surface.volume == pytest.approx(4 / 3 * np.pi * 0.3**3, rel=0.02)
    assert np.allclose(np.linalg.norm(mesh.vertices, axis=1), 0.3, atol=0.5 / R)
    assert mesh.colors is not None
    expected = 255 / (1 + np.exp(-10 * mesh.vertices))
    assert np.abs(mesh.colors - expected).max() < 8


def test_coarsened_mesh_is_scaled_up() -> None:
    small, large = mesh_of(*sphere(), resolution=R), mesh_of(*sphere(), resolution=R, scale=2)
    assert np.allclose(2 * small.vertices, large.vertices)


def test_nothing_crossed_is_an_empty_mesh_which_is_no_asset() -> None:
    features, cubes = sphere()
    features[:, :8] = 1
    assert dual_mesh(features, cubes, R).faces.shape == (0, 3)
    empty = mesh_of(features, cubes, R)
    assert empty.faces.shape == empty.vertices.shape == (0, 3)
    assert kinds.of("mesh").problem(empty) == "it has no triangles"
    features[0, 0] = np.nan
    with pytest.raises(AccuracyError, match="not finite"):
        mesh_of(features, cubes, R)
    with pytest.raises(UsageError, match="7 channels"):
        dual_mesh(features[:, :7], cubes, R)


def test_cube_cases() -> None:
    groups, counts = edge_groups(), group_counts()
    inside = np.arange(256)[:, None] >> np.arange(8) & 1
    crossed = np.stack([inside[:, a] != inside[:, b] for a, b in EDGES], 1)
    assert np.array_equal(groups >= 0, crossed)
    assert counts[[0, 255]].tolist() == [0, 0]
    assert counts.max() == 4
    assert ambiguity()[0].sum() == 36
    for case in range(1, 255):
        assert sorted(set(groups[case][groups[case] >= 0])) == list(range(counts[case]))


def _gaussians(count: int = 50) -> Gaussians:
    rng = np.random.default_rng(0)
    representation = Representation.of(NETWORKS["slat_dec_gs_tiny"][1]["representation_config"])
    features = rng.standard_normal((count, CHANNELS * 32)).astype(np.float32)
    coords = rng.integers(0, 64, (count, 3))
    return attributes(features, coords, perturbation(representation), representation)


def test_gaussians_stay_near_their_voxels() -> None:
    made = _gaussians()
    assert len(made.positions) == 50 * 32
    assert np.abs(made.positions).max() <= 0.5 + 0.75 / 64
    assert (made.scales >= 0.0009).all()
    assert ((made.opacities > 0) & (made.opacities < 1)).all()
    assert np.allclose(np.linalg.norm(made.rotations, axis=1), 1, atol=1e-6)
    assert made.colors.shape == (1600, 3)


def test_file_rows_in_the_viewers_frame_keep_the_covariance() -> None:
    made = _gaussians()
    rows = ply_rows(made)
    turned = Gaussians(rows[:, :3], np.exp(rows[:, 10:13]), rows[:, 13:], made.opacities, made.sh)
    frame = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])
    full = np.zeros((len(rows), 3, 3))
    for target, source in ((full, made.covariances),):
        for value, (i, j) in zip(source.T, [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)], strict=True):
            target[:, i, j] = target[:, j, i] = value
    expected = frame @ full @ frame.T
    found = turned.covariances
    for value, (i, j) in zip(found.T, [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)], strict=True):
        assert np.abs(value - expected[:, i, j]).max() < 1e-4 * np.abs(expected).max()


def test_quaternions_round_trip() -> None:
    q = np.random.default_rng(1).standard_normal((200, 4))
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    back = quaternions_of(rotation_matrices(q))
    assert np.allclose(np.abs((q * back).sum(1)), 1)


def test_a_record_refuses_other_shapes() -> None:
    made = _gaussians(1)
    with pytest.raises(ValueError, match="scales have shape"):
        Gaussians(made.positions, made.scales[:3], made.quaternions, made.opacities, made.sh)
