"""Index tables against plain searches over random voxel sets, and budgets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_slat import voxel_sets

from gen3dexport.errors import UsageError
from gen3dexport.models.trellis.host import voxel_budget, voxel_tables
from gen3dexport.models.trellis.host.voxel_budget import Budget, fit
from gen3dexport.models.trellis.host.window_tables import labels, shape, windows
from gen3dexport.models.trellis.networks.sparse_layers import SubdividedNeighbours


@settings(deadline=None, max_examples=40)
@given(voxel_sets(), st.integers(0, 9))
def test_neighbours(coords: np.ndarray, padding: int) -> None:
    rows = len(coords) + padding
    where = {tuple(c): i for i, c in enumerate(coords)}
    expected = np.full((rows, 27), rows)
    for i, c in enumerate(coords):
        for k, offset in enumerate(np.ndindex(3, 3, 3)):
            expected[i, k] = where.get(tuple(c + np.array(offset) - 1), rows)
    table = voxel_tables.neighbours(coords, rows)
    assert table.dtype == np.int32
    assert np.array_equal(table, expected)


@settings(deadline=None, max_examples=40)
@given(voxel_sets(), st.integers(0, 9), st.integers(0, 9))
def test_coarsening(coords: np.ndarray, padding: int, coarse_padding: int) -> None:
    rows, count = len(coords) + padding, voxel_budget.cells(coords)
    table = voxel_tables.coarsening(coords, rows, count + coarse_padding)
    assert np.array_equal(table.coords[table.parent[: len(coords)]], coords // 2)
    assert [tuple(c) for c in table.coords] == sorted({tuple(c) for c in coords // 2})
    for cell in range(count + coarse_padding):
        own = np.flatnonzero(table.parent[: len(coords)] == cell) if cell < count else np.array([])
        assert sorted(table.children[cell]) == sorted([*own, *[rows] * (8 - len(own))])
        assert table.weight[cell, 0] == (np.float32(1 / (len(own) + 1)) if cell < count else 0)


@settings(deadline=None, max_examples=25)
@given(voxel_sets(most=25), st.integers(0, 3))
def test_neighbours_of_subdivided_voxels(coords: np.ndarray, padding: int) -> None:
    """What the mesh decoder makes of its parents' table is the table of the finer grid."""
    rows = len(coords) + padding
    found = SubdividedNeighbours()(torch.from_numpy(voxel_tables.neighbours(coords, rows)))
    expected = voxel_tables.neighbours(voxel_tables.subdivided(coords), 8 * rows)
    assert np.array_equal(found.numpy(), expected)


@settings(deadline=None, max_examples=60)
@given(voxel_sets(most=400), st.integers(0, 30), st.sampled_from([2, 4, 8]), st.booleans())
def test_windows(coords: np.ndarray, padding: int, size: int, shifted: bool) -> None:
    """Every token has one slot, windows are whole within a bin, and no set overflows the bins."""
    rows, shift = len(coords) + padding, size // 2 if shifted else 0
    found = windows(coords, rows, size, shift)
    assert found.slots.shape == shape(rows, size)
    used = found.slots.reshape(-1)[found.slots.reshape(-1) < rows]
    assert sorted(used) == list(range(len(coords)))
    assert np.array_equal(found.slots.reshape(-1)[found.place[: len(coords)]], np.arange(len(coords)))
    label = labels(coords, size, shift)
    cells = (coords + shift) // size
    assert all((cells[label == k] == cells[label == k][0]).all() for k in range(label.max() + 1))
    assert len(np.unique(cells, axis=0)) == label.max() + 1
    for k in range(label.max() + 1):
        bins = {int(place) // found.slots.shape[1] for place in found.place[: len(coords)][label == k]}
        assert len(bins) == 1
    assert np.array_equal(found.window.reshape(-1)[found.place[: len(coords)]], label)
    assert (found.window[found.slots == rows] == -1).all()


def test_windows_fit_when_packing_is_hardest() -> None:
    """Windows of just over half a bin, which no two share."""
    cells = np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), -1).reshape(-1, 3)
    inside = np.stack(np.unravel_index(np.arange(33), (4, 4, 4)), -1)  # 33 of 64 voxels of each window
    coords = (4 * cells[:, None] + inside[None]).reshape(-1, 3).astype(np.int32)
    found = windows(coords, len(coords), 4, 0)
    assert found.slots.shape == (9, 64)


def _shell(radius: float, resolution: int = 64) -> np.ndarray:
    grid = np.stack(np.meshgrid(*[np.arange(resolution)] * 3, indexing="ij"), -1).reshape(-1, 3)
    distance = np.linalg.norm(grid + 0.5 - resolution / 2, axis=1)
    return grid[abs(distance - radius) < 0.8].astype(np.int32)


def test_too_many_voxels_name_the_budget_to_build_with() -> None:
    coords = _shell(20)
    assert 4096 < len(coords) < 8192
    with pytest.raises(
        UsageError, match=r"voxels: \d+ .* room for 4096 .* a budget of 8192 tokens.*on_overflow=coarsen"
    ):
        fit(coords, Budget.of(4096))
    assert fit(coords, Budget.of(8192)).scale == 1


def test_budget_named_is_enough_beyond_the_buckets() -> None:
    rng = np.random.default_rng(0)
    coords = np.stack(np.unravel_index(rng.choice(64**3, 40000, replace=False), (64,) * 3), -1).astype(np.int32)
    with pytest.raises(UsageError, match="a budget of") as caught:
        fit(coords, Budget.of(4096))
    named = int(str(caught.value).split("a budget of ")[1].split()[0])
    assert fit(coords, Budget.of(named)).scale == 1


def test_coarsened_voxels_fit_and_stay_in_place() -> None:
    coords = _shell(24)
    with pytest.warns(UserWarning, match="coarsened 2x"):
        fitted = fit(coords, Budget.of(4096), on_overflow="coarsen")
    assert fitted.scale == 2
    assert len(fitted.coords) <= 4096
    centres = ((fitted.coords + 0.5) / 64 - 0.5) * fitted.scale  # where the asset's voxels end up
    original = (coords + 0.5) / 64 - 0.5
    nearest = np.abs(centres[:, None] - original[None, ::7]).max(-1).min(0)
    assert nearest.max() <= 1 / 64  # every voxel lies in the cell that stands for it


@pytest.mark.parametrize(
    ("coords", "message"),
    [
        (np.zeros((0, 3), np.int32), "none is occupied"),
        (np.array([[0, 0, 64]], np.int32), "coordinates from 0 to 64"),
        (np.array([[1, 2, 3], [1, 2, 3]], np.int32), "occur twice"),
        (np.zeros((2, 4), np.int32), r"need \[N, 3\]"),
    ],
)
def test_bad_voxels_are_refused(coords: np.ndarray, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fit(coords, Budget.of(8))


def test_tables_refuse_more_voxels_than_rows() -> None:
    with pytest.raises(UsageError, match="voxels: 3, and the tables have 2 rows"):
        voxel_tables.neighbours(np.eye(3, dtype=np.int32), 2)
