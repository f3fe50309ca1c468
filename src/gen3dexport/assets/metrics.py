"""How far assets are from their reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gen3dexport.assets.array_checks import not_finite
from gen3dexport.assets.mesh import Mesh
from gen3dexport.assets.score import PSNR, SSIM, Score, settled
from gen3dexport.tensor_error import json_number

Drawn = TypeVar("Drawn")

F_THRESHOLDS = (1.5, 0.5, 3.0)
"""Distances for the F-score, in voxels; the first is the one that budgets name."""


@dataclass(frozen=True)
class SurfaceQuality:
    """A surface against a reference; every number is symmetric.

    Distances are in edges of the unit cube, between points sampled on both surfaces (seeded, uniform by area).

    Attributes:
        chamfer: see `chamfer`.
        f_scores: (threshold in cells, `f_score`) for each threshold.
        normal_consistency: mean |cosine| between the normals of nearest points, both ways averaged (Mescheder et al.
            2019).
        samples: points on each surface.
    """

    chamfer: float
    f_scores: tuple[tuple[float, float], ...]
    normal_consistency: float
    samples: int

    @property
    def f_score(self) -> float:
        """The F-score at the first threshold."""
        return self.f_scores[0][1]


def occupancy_iou(a: ArrayLike, b: ArrayLike) -> float:
    """Intersection over union of two boolean voxel grids of one shape; 1 when both are empty.

    Raises:
        ValueError: when the shapes differ or a grid is not boolean.
    """
    one, other = np.asarray(a), np.asarray(b)
    if one.dtype != bool or other.dtype != bool:
        raise ValueError(f"occupancy has dtypes {one.dtype}, {other.dtype}; need bool (logits > 0)")
    if one.shape != other.shape:
        raise ValueError(f"occupancy grids differ in shape: {list(one.shape)} and {list(other.shape)}")
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0


def sample_surface(mesh: Mesh, count: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`count` points [N, 3] uniform by area on the mesh, and the unit normals [N, 3] of their faces.

    Raises:
        ValueError: when the surface has no area.
    """
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    doubled = np.linalg.norm(normals, axis=1)
    total = float(doubled.sum())
    if total == 0:
        raise ValueError("the mesh has no surface to sample")
    rng = np.random.default_rng(seed)
    # Stratified along the cumulated area: less variance than independent draws, equally uniform.
    strata = (np.arange(count) + rng.random(count)) / count * total
    face = np.minimum(np.searchsorted(np.cumsum(doubled), strata, side="right"), len(doubled) - 1)
    face = np.where(doubled[face] > 0, face, int(doubled.argmax()))
    u, v = rng.random((2, count))
    root = np.sqrt(u)
    weights = np.stack([1 - root, root * (1 - v), root * v], axis=1)
    return np.einsum("nk,nkd->nd", weights, corners[face]), normals[face] / doubled[face, None]


def surface_quality(
    mesh: Mesh,
    reference: Mesh,
    cell: float,
    samples: int = 20_000,
    thresholds: Sequence[float] = F_THRESHOLDS,
    seed: int = 0,
) -> SurfaceQuality:
    """How alike two surfaces are, which must not be empty.

    Args:
        cell: unit of the thresholds, in edges of the unit cube.
        thresholds: distances for the F-score in cells.

    The two surfaces are sampled with different seeds, so that even equal meshes are compared by different points.
    """
    points, normals = zip(*(sample_surface(m, samples, seed + k) for k, m in enumerate((mesh, reference))), strict=True)
    distances, nearest = nearest_points(*points)
    cosines = [np.abs((normals[here] * normals[1 - here][nearest[here]]).sum(1)).mean() for here in (0, 1)]
    return SurfaceQuality(
        chamfer=chamfer(distances),
        f_scores=tuple((t, f_score(distances, t * cell)) for t in thresholds),
        normal_consistency=float(np.mean(cosines)),
        samples=samples,
    )


def nearest_points(
    points: NDArray[np.float64], others: NDArray[np.float64]
) -> tuple[list[NDArray[np.float64]], list[NDArray[np.int64]]]:
    """For each of two sets of points [N, 3], the distances to the nearest points of the other, and their indices."""
    from scipy.spatial import cKDTree

    pairs = [cKDTree(there).query(here) for here, there in ((points, others), (others, points))]
    return [distance for distance, _ in pairs], [index for _, index in pairs]


def chamfer(distances: Sequence[NDArray[np.float64]]) -> float:
    """The mean of the two mean nearest-point distances (Fan et al. 2017, but Euclidean and not squared)."""
    return float((distances[0].mean() + distances[1].mean()) / 2)


def f_score(distances: Sequence[NDArray[np.float64]], threshold: float) -> float:
    """Harmonic mean of precision and recall: the shares of points within `threshold` of the other set (Tatarchenko et
    al. 2019)."""
    precision, recall = (float((d <= threshold).mean()) for d in distances)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def scores_by_pictures(
    reference: Drawn,
    arrays: Callable[[Drawn], Mapping[str, NDArray[Any]]],
    pictures: Callable[[Drawn], Sequence[NDArray[np.uint8]]],
) -> Callable[[Drawn], tuple[Score, ...]]:
    """What scores assets by their pictures against the reference's, which is drawn once, when it is first needed.

    Args:
        arrays: an asset's arrays by name, `positions` [N, 3] among them; pictures: of its views.
    """
    drawn = cache(lambda: pictures(reference))

    def found(asset: Drawn) -> tuple[Score, ...]:
        pair = [arrays(one) for one in (asset, reference)]
        empty, finite = [not len(one["positions"]) for one in pair], [not_finite(one) is None for one in pair]
        known = settled((SSIM, PSNR), empty, finite)
        return known if known is not None else picture_scores(pictures(asset), drawn())

    return found


def picture_scores(pictures: Sequence[NDArray[np.uint8]], references: Sequence[NDArray[np.uint8]]) -> tuple[Score, ...]:
    """`picture_quality` as scores, SSIM first and never below 0."""
    found = picture_quality(pictures, references)
    return SSIM(max(0.0, found["ssim"])), PSNR(float(found["psnr_db"]))


def picture_quality(pictures: Sequence[NDArray[np.uint8]], references: Sequence[NDArray[np.uint8]]) -> dict[str, Any]:
    """How alike pictures [H, W, 3] of the same views are: `psnr_db` of all pixels together, inf when equal, and the
    mean structural similarity `ssim` (Wang et al. 2004) of the views.

    Raises:
        ValueError: when their shapes or numbers differ.
    """
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    one, other = np.stack(pictures), np.stack(references)
    with np.errstate(divide="ignore"):
        psnr = float(peak_signal_noise_ratio(other, one, data_range=255))
    ssim = [float(structural_similarity(a, b, channel_axis=2, data_range=255)) for a, b in zip(one, other, strict=True)]
    return {"psnr_db": json_number(psnr), "ssim": float(np.mean(ssim))}


def depth_delta1(depths: Sequence[ArrayLike], references: Sequence[ArrayLike], ratio: float = 1.25) -> float:
    """Share of the pixels that either picture covers whose depths are within `ratio` of each other (Eigen et al. 2014).

    Args:
        depths, references: per view, positive where the surface is seen and inf elsewhere; a pixel that only one covers
            counts as a miss. 1 when nothing is covered.
    """
    one, other = (np.stack([np.asarray(d, np.float64) for d in some]) for some in (depths, references))
    covered, both = np.isfinite(one) | np.isfinite(other), np.isfinite(one) & np.isfinite(other)
    near = np.maximum(one[both] / other[both], other[both] / one[both]) < ratio
    return float(near.sum() / covered.sum()) if covered.any() else 1.0
