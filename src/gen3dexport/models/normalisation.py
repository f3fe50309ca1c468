"""Pictures in the normalisation of published image encoders: (colour - mean) / deviation by channel. No torch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Channels = tuple[float, float, float]


class Normalisation(NamedTuple):
    """Of colours in [0, 1]: red, green, blue.

    Attributes:
        mean: of each channel; std: its deviation.
    """

    mean: Channels
    std: Channels

    def of(self, colors: NDArray[Any], axis: int = -1, precision: type[np.floating] = np.float32) -> NDArray[Any]:
        """Colours whose channels lie along an axis, normalised.

        Args:
            precision: of the means and deviations, which published code keeps in float32 or float64.
        """
        shape = [1] * colors.ndim
        shape[axis] = len(self.mean)
        mean, std = (np.asarray(value, precision).reshape(shape) for value in self)
        made: NDArray[Any] = (colors - mean) / std
        return made

    def picture(self, colors: NDArray[np.floating]) -> NDArray[np.float32]:
        """Colours [H, W, 3] as a network's picture [1, 3, H, W]."""
        return np.ascontiguousarray(self.of(colors).transpose(2, 0, 1)[None])


IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = Normalisation((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
