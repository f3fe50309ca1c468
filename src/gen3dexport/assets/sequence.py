"""A sequence of assets of one kind, each with its time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.asset import Asset


@dataclass(frozen=True, eq=False)
class AssetSequence:
    """Assets over time.

    Attributes:
        items: T assets of one kind, one at least.
        times: float64 [T] seconds, rising.
    """

    kind: ClassVar[str] = "sequence"

    items: tuple[Asset, ...]
    times: NDArray[np.float64]

    def __post_init__(self) -> None:
        if not self.items or len({item.kind for item in self.items}) != 1:
            raise ValueError(f"a sequence has items of one kind, not {sorted({i.kind for i in self.items})}")
        if self.times.shape != (len(self.items),) or (np.diff(self.times) <= 0).any():
            raise ValueError(f"{len(self.items)} items need as many rising times, not {self.times.tolist()}")
