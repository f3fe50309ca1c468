"""How many voxels a bundle is built for, and what happens to a voxel set that is larger. No torch.

Shapes of a program are fixed, so a structured latent is padded to a budget of fine tokens (one per voxel) and coarse
tokens (one per occupied 2x2x2 cell).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gen3dexport.errors import UsageError

Coords = NDArray[np.int32]
OnOverflow = Literal["error", "coarsen"]

BUCKETS = (4096, 8192, 16384, 32768)
"""Budgets that recipes offer; TRELLIS was trained on at most 32,768 voxels."""
_MULTIPLE = 8  # other budgets are rounded up to a multiple of this


@dataclass(frozen=True)
class Budget:
    """Rows that a program has for voxels.

    Attributes:
        tokens: voxels of the fine grid.
        coarse: occupied cells of the grid of half the resolution.
    """

    tokens: int
    coarse: int

    def __post_init__(self) -> None:
        if self.tokens < 1 or self.coarse < 1:
            raise UsageError(
                f"voxel budget: {self.tokens} tokens and {self.coarse} coarse tokens; both must be positive"
            )

    @classmethod
    def of(cls, tokens: int) -> Budget:
        """The budget of that many voxels: surfaces have 0.28 coarse cells per voxel, so a third is kept for them."""
        return cls(tokens, _round_up(math.ceil(tokens / 3)))


@dataclass(frozen=True)
class Fitted:
    """A voxel set that fits a budget.

    Attributes:
        coords: [N, 3] int32.
        scale: by how much positions and sizes of the decoded asset are to be multiplied: 1, or 2 per coarsening.
    """

    coords: Coords
    scale: int = 1


def cells(coords: Coords) -> int:
    """Number of occupied cells of the grid of half the resolution."""
    return len(np.unique(coords // 2, axis=0))


def fit(coords: Coords, budget: Budget, resolution: int = 64, on_overflow: OnOverflow = "error") -> Fitted:
    """The voxel set itself if it fits `budget`; else an error, or the set at half the resolution until it fits.

    A coarsened set is centred in the grid at half its size, so that the networks see voxels as they know them; the
    decoded asset is scaled up again by `Fitted.scale` about the origin.

    Args:
        coords: [N, 3] int32, 0 <= coords < resolution.
        budget: of the program.
        resolution: of the grid.
        on_overflow: "error", or "coarsen" with a warning.

    Raises:
        UsageError: when nothing is occupied, a voxel is outside the grid or there twice, or the set is too large.
    """
    coords = np.asarray(coords, np.int32)
    if coords.ndim != 2 or coords.shape[1] != 3:
        raise UsageError(f"voxels: shape {list(coords.shape)}; need [N, 3] (drop the batch column)")
    if not len(coords):
        raise UsageError("voxels: none is occupied, so there is nothing to decode; try another seed or prompt")
    if coords.min() < 0 or coords.max() >= resolution:
        raise UsageError(f"voxels: coordinates from {coords.min()} to {coords.max()}; need 0 to {resolution - 1}")
    if len(np.unique(coords, axis=0)) != len(coords):
        raise UsageError("voxels: some occur twice; give each voxel once")
    fitted = Fitted(coords)
    while not _fits(fitted.coords, budget):
        if on_overflow == "error":
            raise UsageError(_too_many(coords, budget))
        if len(fitted.coords) == 1:
            raise UsageError(_too_many(coords, budget))
        halved = np.unique(fitted.coords // 2, axis=0).astype(np.int32) + np.int32(resolution // 4)
        fitted = Fitted(halved, fitted.scale * 2)
    if fitted.scale > 1:
        warnings.warn(
            f"{_too_many(coords, budget)}; coarsened {fitted.scale}x to {len(fitted.coords)} voxels, "
            "so the asset has less detail",
            stacklevel=2,
        )
    return fitted


def _fits(coords: Coords, budget: Budget) -> bool:
    return len(coords) <= budget.tokens and cells(coords) <= budget.coarse


def _too_many(coords: Coords, budget: Budget) -> str:
    count, coarse = len(coords), cells(coords)
    tokens = next((b for b in BUCKETS if count <= b and coarse <= Budget.of(b).coarse), None)
    tokens = tokens or _round_up(max(count, 3 * coarse))
    return (
        f"voxels: {count} (in {coarse} cells), and this program has room for {budget.tokens} (in {budget.coarse}); "
        f"build with a budget of {tokens} tokens, or run with --set on_overflow=coarsen"
    )


def _round_up(count: int) -> int:
    return -(-count // _MULTIPLE) * _MULTIPLE
