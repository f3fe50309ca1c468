"""Pictures and maps in another size, against torch's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gen3dexport.models.resampling import cubic, linear, tent

torch = pytest.importorskip("torch")
COUNTS = pytest.mark.parametrize(("count", "axis"), [(11, 0), (3, 1), (1, 0), (7, 1), (16, 1)])


def _expected(values: np.ndarray, count: int, axis: int, **options: Any) -> np.ndarray:
    size = [*values.shape]
    size[axis] = count
    given = torch.from_numpy(values)[None, None]
    return torch.nn.functional.interpolate(given, size=size, **options)[0, 0].numpy()


@COUNTS
@pytest.mark.parametrize("corners", [True, False])
def test_linear(count: int, axis: int, corners: bool) -> None:
    values = np.random.default_rng(0).random((5, 7), dtype=np.float32)
    expected = _expected(values, count, axis, mode="bilinear", align_corners=corners)
    np.testing.assert_allclose(linear(values, count, axis, corners), expected, atol=1e-6)


@COUNTS
def test_tent(count: int, axis: int) -> None:
    values = np.random.default_rng(0).random((5, 7), dtype=np.float32)
    expected = _expected(values, count, axis, mode="bilinear", align_corners=False, antialias=True)
    np.testing.assert_allclose(tent(values, count, axis), expected, atol=1e-6)


@COUNTS
def test_cubic(count: int, axis: int) -> None:
    values = np.random.default_rng(0).random((5, 7))
    expected = _expected(values, count, axis, mode="bicubic", align_corners=False)
    np.testing.assert_allclose(cubic(values, count, axis), expected, atol=1e-6)
