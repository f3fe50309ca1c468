"""Arrays of any library."""

from __future__ import annotations

from typing import Any

import numpy as np


def on_host(array: Any) -> np.ndarray:
    """An array of any library as NumPy's, torch's in float32; waits for asynchronous devices."""
    return np.asarray(array.float().cpu() if hasattr(array, "cpu") else array)
