"""How far a program's tensors and assets are from their reference.

Values may be infinite where the mathematics says so; `as_dict` writes those as the strings "inf", "-inf" and "nan",
which JSON has no numbers for and `float` reads back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gen3dexport.assets.mesh import Mesh

F_THRESHOLDS = (1.5, 0.5, 3.0)
"""Distances for the F-score, in voxels; the first is the one that budgets name."""


@dataclass(frozen=True)
class TensorError:
    """The error of a tensor against a reference of the same shape; not symmetric, except `max_abs` and `cosine`.

    Attributes:
        max_abs: max |value - reference|, in the tensor's unit.
        relative_l2: ||value - reference||_2 / ||reference||_2, without unit; 0 when both are zero, inf when only the
            reference is.
        cosine: <value, reference> / (||value|| ||reference||), from -1 to 1; 1 when both are zero, 0 when one is.
        psnr_db: 20 log10(max |reference| / rms(value - reference)), in dB; inf when equal, -inf when only the
            reference is zero.

    When an element of either is NaN or infinite, the fields are inf, inf, nan and -inf: no budget passes.
    """

    max_abs: float
    relative_l2: float
    cosine: float
    psnr_db: float

    def as_dict(self) -> dict[str, float | str]:
        """The fields as JSON takes them."""
        return {k: _json_number(v) for k, v in asdict(self).items()}


@dataclass(frozen=True)
class AssetQuality:
    """A generated asset against the reference asset of the same prompt and seed; every number is symmetric.

    Distances are in edges of the unit cube, between points sampled on both surfaces (seeded, uniform by area).

    Attributes:
        iou: |A and B| / |A or B| of occupied voxels; 1 when both are empty.
        chamfer: mean of the two mean nearest-point distances (Fan et al. 2017, but Euclidean and not squared);
            0 when both are empty, inf when one is.
        f_scores: (threshold in voxels, harmonic mean of precision and recall: the shares of points within the
            threshold of the other surface) for each threshold (Tatarchenko et al. 2019); 1 when both are empty, 0 when
            one is.
        normal_consistency: mean |cosine| between the normals of nearest points, both ways averaged (Mescheder et al.
            2019); 1 when both are empty, 0 when one is.
        samples: points on each surface.
    """

    iou: float
    chamfer: float
    f_scores: tuple[tuple[float, float], ...]
    normal_consistency: float
    samples: int

    @property
    def f_score(self) -> float:
        """The F-score at the first threshold."""
        return self.f_scores[0][1]

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON takes them, and `f_score`."""
        return {
            "iou": _json_number(self.iou),
            "chamfer": _json_number(self.chamfer),
            "f_score": _json_number(self.f_score),
            "f_scores": {str(threshold): _json_number(score) for threshold, score in self.f_scores},
            "normal_consistency": _json_number(self.normal_consistency),
            "samples": self.samples,
        }


def tensor_error(value: ArrayLike, reference: ArrayLike) -> TensorError:
    """The error of `value` against `reference` (same shape, any real dtype), in float64.

    Raises:
        ValueError: when the shapes differ or there is no element.
    """
    a, b = np.asarray(value, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {list(a.shape)} against the reference's {list(b.shape)}")
    if a.size == 0:
        raise ValueError("the tensors have no elements, so there is no error to measure")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return TensorError(math.inf, math.inf, math.nan, -math.inf)
    difference = np.abs(a - b)
    norm_a, norm_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    norm = float(np.linalg.norm(difference))
    rms, peak = norm / math.sqrt(a.size), float(np.abs(b).max())
    if norm_a == 0 or norm_b == 0:
        cosine = float(norm_a == norm_b)
    else:
        cosine = float(np.clip(np.vdot(a / norm_a, b / norm_b), -1, 1))
    return TensorError(
        max_abs=float(difference.max()),
        relative_l2=norm / norm_b if norm_b else (math.inf if norm else 0.0),
        cosine=cosine,
        psnr_db=math.inf if rms == 0 else (20 * math.log10(peak / rms) if peak else -math.inf),
    )


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


def asset_quality(
    mesh: Mesh | None,
    reference: Mesh | None,
    occupancy: ArrayLike,
    reference_occupancy: ArrayLike,
    samples: int = 20_000,
    thresholds: Sequence[float] = F_THRESHOLDS,
    seed: int = 0,
) -> AssetQuality:
    """Quality of a generated asset against its reference; None is an empty asset.

    Args:
        occupancy, reference_occupancy: boolean [R, R, R].
        thresholds: distances for the F-score in voxels, which are 1 / R of the unit cube's edge.

    The two surfaces are sampled with different seeds, so that even equal meshes are compared by different points.
    """
    iou = occupancy_iou(occupancy, reference_occupancy)
    empty = [m is None or len(m.faces) == 0 for m in (mesh, reference)]
    if any(empty):
        equal = float(all(empty))
        scores = tuple((t, equal) for t in thresholds)
        return AssetQuality(iou, 0.0 if equal else math.inf, scores, equal, samples)
    assert mesh is not None and reference is not None
    voxel = 1 / np.asarray(occupancy).shape[0]
    from scipy.spatial import cKDTree

    points, normals = zip(*(sample_surface(m, samples, seed + k) for k, m in enumerate((mesh, reference))), strict=True)
    distances, cosines = [], []
    for here, there in ((0, 1), (1, 0)):
        distance, nearest = cKDTree(points[there]).query(points[here])
        distances.append(distance)
        cosines.append(np.abs((normals[here] * normals[there][nearest]).sum(1)).mean())
    return AssetQuality(
        iou=iou,
        chamfer=float((distances[0].mean() + distances[1].mean()) / 2),
        f_scores=tuple((t, _f_score(distances, t * voxel)) for t in thresholds),
        normal_consistency=float(np.mean(cosines)),
        samples=samples,
    )


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
    return {"psnr_db": _json_number(psnr), "ssim": float(np.mean(ssim))}


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


def _f_score(distances: Sequence[NDArray[np.float64]], threshold: float) -> float:
    precision, recall = (float((d <= threshold).mean()) for d in distances)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _json_number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
