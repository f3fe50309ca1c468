"""A feature film: a vector per patch of a film, and what was predicted of its later patches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class FeatureFilm:
    """Vectors on a grid, over time.

    Attributes:
        features: float32 [T, H, W, C], row 0 at the top.
        times: float64 [T] seconds at which the moments begin, rising.
        predicted: float32 [K, H, W, C] of the last K moments, of the moments before them; K is 0 where none are.
        repeated: float32 [1, H, W, C], the features of the last moment that the prediction had; [0, H, W, C] for none.
    """

    kind: ClassVar[str] = "feature_film"

    features: NDArray[np.float32]
    times: NDArray[np.float64]
    predicted: NDArray[np.float32]
    repeated: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.features.ndim != 4:
            raise ValueError(f"features have shape {list(self.features.shape)}; need [T, H, W, C]")
        moments, *places = self.features.shape
        if self.times.shape != (moments,) or (np.diff(self.times) <= 0).any():
            raise ValueError(f"{moments} moments need as many rising times, not {self.times.tolist()}")
        last = len(self.predicted)
        if self.predicted.shape[1:] != tuple(places) or not (last == 0 or last < moments):
            raise ValueError(
                f"predicted has shape {list(self.predicted.shape)}; need fewer of {list(places)} than {moments}"
            )
        if self.repeated.shape != (min(1, last), *places):
            raise ValueError(f"repeated has shape {list(self.repeated.shape)}; need {[min(1, last), *places]}")
