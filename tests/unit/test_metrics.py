"""Errors of tensors and quality of assets: known values, symmetry, degenerate cases."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import trimesh

from gen3dexport.assets import kinds
from gen3dexport.assets.mesh import Mesh
from gen3dexport.assets.metrics import (
    depth_delta1,
    occupancy_iou,
    picture_quality,
    sample_surface,
    surface_quality,
)
from gen3dexport.assets.voxels import Voxels
from gen3dexport.tensor_error import tensor_error


def sphere(radius: float, shift: float = 0.0) -> Mesh:
    made = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    return Mesh(
        np.asarray(made.vertices + np.array([shift, 0, 0]), dtype=np.float32), np.asarray(made.faces, dtype=np.int64)
    )


VOXEL = 1 / 64
FULL, EMPTY = np.ones((64, 64, 64), dtype=bool), np.zeros((64, 64, 64), dtype=bool)


def test_tensor_error_of_known_values() -> None:
    error = tensor_error([3.0, 4.0], [3.0, 3.0])
    assert error.max_abs == 1
    assert error.relative_l2 == pytest.approx(1 / math.sqrt(18))
    assert error.cosine == pytest.approx(21 / (5 * math.sqrt(18)))
    assert error.psnr_db == pytest.approx(20 * math.log10(3 / math.sqrt(0.5)))


def test_tensor_error_grows_with_noise() -> None:
    rng = np.random.default_rng(0)
    reference = rng.normal(size=1000).astype(np.float32)
    errors = [tensor_error(reference + rng.normal(size=1000) * s, reference) for s in (1e-3, 1e-2, 1e-1)]
    assert [round(math.log10(e.relative_l2)) for e in errors] == [-3, -2, -1]
    assert errors[0].psnr_db > errors[1].psnr_db > errors[2].psnr_db
    assert errors[0].cosine > errors[1].cosine > errors[2].cosine


def test_half_precision_is_compared_in_float64() -> None:
    huge = np.full(4, 60000, dtype=np.float16)  # its squares overflow float16 and its sum float16's range
    assert tensor_error(huge, huge).relative_l2 == 0
    assert tensor_error(huge, -huge).cosine == pytest.approx(-1)


@pytest.mark.parametrize(
    "value, reference, expected",
    [
        ([1.0, 2.0], [1.0, 2.0], (0, 0, 1, math.inf)),
        ([0.0, 0.0], [0.0, 0.0], (0, 0, 1, math.inf)),
        ([0.0, 1.0], [0.0, 0.0], (1, math.inf, 0, -math.inf)),
        ([0.0, 0.0], [0.0, 2.0], (2, 1, 0, 20 * math.log10(2 / math.sqrt(2)))),
        ([math.nan, 1.0], [1.0, 1.0], (math.inf, math.inf, math.nan, -math.inf)),
        ([math.inf, 1.0], [1.0, 1.0], (math.inf, math.inf, math.nan, -math.inf)),
        ([1.0, 1.0], [math.nan, 1.0], (math.inf, math.inf, math.nan, -math.inf)),
        ([math.inf, 1.0], [math.inf, 1.0], (math.inf, math.inf, math.nan, -math.inf)),
    ],
)
def test_degenerate_tensors(value: list[float], reference: list[float], expected: tuple[float, ...]) -> None:
    error = tensor_error(value, reference)
    found = (error.max_abs, error.relative_l2, error.cosine, error.psnr_db)
    assert found == pytest.approx(expected, nan_ok=True)
    stored = json.loads(json.dumps(error.as_dict(), allow_nan=False))
    assert [float(v) for v in stored.values()] == pytest.approx(expected, nan_ok=True)


def test_incomparable_tensors() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        tensor_error([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="no elements"):
        tensor_error([], [])


def test_iou() -> None:
    a, b = np.zeros((2, 2, 2), dtype=bool), np.zeros((2, 2, 2), dtype=bool)
    a[0], b[0, 0], b[1, 0] = True, True, True
    assert occupancy_iou(a, b) == pytest.approx(2 / 6)
    assert occupancy_iou(EMPTY, EMPTY) == 1
    assert occupancy_iou(EMPTY, FULL) == 0
    with pytest.raises(ValueError, match="logits > 0"):
        occupancy_iou(np.ones(2), np.ones(2))
    with pytest.raises(ValueError, match="differ in shape"):
        occupancy_iou(FULL, FULL[0])


def test_samples_lie_on_the_surface_evenly() -> None:
    big = np.array([[0, 0, 0], [3, 0, 0], [0, 3, 0]], dtype=np.float32)
    small = big / 3 + [0, 0, 1]
    mesh = Mesh(np.concatenate([big, small]).astype(np.float32), np.array([[0, 1, 2], [3, 4, 5], [0, 1, 1]]))
    points, normals = sample_surface(mesh, 20_000)
    np.testing.assert_array_equal(normals, np.tile([0, 0, 1.0], (20_000, 1)))
    on_small = points[:, 2] > 0.5
    assert on_small.mean() == pytest.approx(0.1, abs=0.001)
    np.testing.assert_allclose(points[~on_small].mean(0), [1, 1, 0], atol=0.02)
    np.testing.assert_array_equal(points, sample_surface(mesh, 20_000)[0])
    with pytest.raises(ValueError, match="no surface"):
        sample_surface(Mesh(big, np.array([[0, 1, 1]])), 10)


def test_quality_of_equal_assets() -> None:
    quality = surface_quality(sphere(0.4), sphere(0.4), VOXEL)
    assert quality.f_score == 1
    assert 0 < quality.chamfer < 0.006  # the distance between two samplings of one sphere
    assert quality.normal_consistency > 0.995


def test_quality_of_concentric_spheres() -> None:
    """Two spheres with radii 0.40 and 0.43 are 0.03 apart everywhere: 1.92 voxels of 1/64."""
    quality = surface_quality(sphere(0.43), sphere(0.40), VOXEL)
    assert quality.chamfer == pytest.approx(0.03, abs=0.001)
    assert dict(quality.f_scores) == {1.5: 0, 0.5: 0, 3.0: 1}
    assert quality.normal_consistency > 0.995


def test_quality_is_symmetric() -> None:
    one, other = sphere(0.3), sphere(0.3, shift=0.04)
    there, back = surface_quality(one, other, VOXEL), surface_quality(other, one, VOXEL)
    assert there.chamfer == pytest.approx(back.chamfer, rel=0.01)
    assert there.f_score == pytest.approx(back.f_score, abs=0.01)
    assert 0 < there.f_score < 1
    assert there.normal_consistency == pytest.approx(back.normal_consistency, abs=0.001)


def test_empty_assets() -> None:
    empty = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64))
    nothing = {s.name: s.value for s in kinds.of("mesh").scores(empty, sphere(0.4))}
    assert (nothing["f_score"], nothing["normal_consistency"], nothing["depth_delta1"]) == (0, 0, 0)
    assert math.isinf(nothing["chamfer"])
    both = {s.name: s.value for s in kinds.of("mesh").scores(empty, empty)}
    assert (both["chamfer"], both["f_score"], both["normal_consistency"]) == (0, 1, 1)
    assert kinds.of("voxels").scores(Voxels(EMPTY), Voxels(FULL))[0].value == 0
    assert kinds.of("voxels").scores(Voxels(EMPTY), Voxels(EMPTY))[0].value == 1


def test_pictures_are_compared_by_psnr_and_ssim() -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(2)]
    assert picture_quality(pictures, pictures) == {"psnr_db": "inf", "ssim": pytest.approx(1.0)}
    off = [np.clip(p.astype(int) + np.where(p < 128, 16, -16), 0, 255).astype(np.uint8) for p in pictures]
    found = picture_quality(off, pictures)
    assert found["psnr_db"] == pytest.approx(20 * math.log10(255 / 16)) and 0.9 < found["ssim"] < 1
    assert picture_quality([255 - p for p in pictures], pictures)["ssim"] < 0


def test_depth_delta1_counts_silhouettes_as_misses() -> None:
    inf = math.inf
    assert depth_delta1([[1.0, 2.0, inf]], [[1.0, 2.0, inf]]) == 1.0
    assert depth_delta1([[1.0, 2.0, inf, 1.0]], [[1.2, 2.6, inf, inf]]) == pytest.approx(1 / 3)
    assert depth_delta1([[inf]], [[inf]]) == 1.0
