"""Padding never changes a real row: every structured-latent network at two budgets, over random voxel sets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_slat import TINY, tiny, voxel_sets
from torch import Tensor, nn

from gen3dexport.models.trellis.host.slat_inputs import flow_tables, mesh_inputs, window_inputs
from gen3dexport.models.trellis.host.voxel_budget import Budget, cells
from gen3dexport.models.trellis.networks.mesh_decoder import SLatMeshDecoder
from gen3dexport.models.trellis.networks.slat_flow import SLatFlow


def run(module: nn.Module, feats: np.ndarray, coords: np.ndarray, budget: Budget, garbage: float = 0.0) -> list[Tensor]:
    """Real rows of every output; `garbage` is what the padded rows of the features hold."""
    values = torch.full((1, budget.tokens, feats.shape[1]), garbage)
    values[0, : len(feats)] = torch.from_numpy(feats)
    if isinstance(module, SLatFlow):
        cond = torch.randn(1, 5, 48, generator=torch.Generator().manual_seed(3))
        inputs, tables = [values, torch.tensor([431.0]), cond], flow_tables(coords, budget)
    elif isinstance(module, SLatMeshDecoder):
        inputs, tables = [values], mesh_inputs(coords, budget.tokens, module.window_size)
    else:
        assert isinstance(module.window_size, int)
        inputs, tables = [values], window_inputs(coords, budget.tokens, module.window_size)
    with torch.no_grad():
        out = module(*inputs, *(torch.from_numpy(table) for table in tables.values()))
    rows = len(coords) * (64 if isinstance(module, SLatMeshDecoder) else 1)
    return [value[0, :rows] for value in (out if isinstance(out, tuple) else (out,))]


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert torch.isfinite(one).all()
        assert (one - other).abs().max() <= 1e-5 * other.abs().max()


@pytest.mark.parametrize("name", TINY)
@settings(deadline=None, max_examples=8)
@given(data=st.data())
def test_padding_changes_no_real_row(name: str, data: st.DataObject) -> None:
    module = tiny(name)
    coords = data.draw(voxel_sets(most=30 if "mesh" in name else 90))
    channels = 24 if "enc" in name else 8
    feats = np.random.default_rng(len(coords)).standard_normal((len(coords), channels)).astype(np.float32)
    exact = Budget(len(coords), cells(coords))
    padding = st.integers(0, 40 if "mesh" in name else 600)
    larger = Budget(exact.tokens + data.draw(padding), exact.coarse + data.draw(padding))
    garbage = data.draw(st.sampled_from([0.0, -3.0, 1e4]))
    assert_same(run(module, feats, coords, larger, garbage), run(module, feats, coords, exact))


@pytest.mark.parametrize("name", TINY)
def test_order_of_voxels_does_not_matter(name: str) -> None:
    module, rng = tiny(name), np.random.default_rng(5)
    coords = np.stack(np.unravel_index(rng.choice(12**3, 40, replace=False), (12,) * 3), -1).astype(np.int32)
    feats = rng.standard_normal((40, 24 if "enc" in name else 8)).astype(np.float32)
    order, budget = rng.permutation(40), Budget(48, 40)
    expected = run(module, feats, coords, budget)
    shuffled = run(module, feats[order], coords[order], budget)
    back = np.argsort(order)
    assert_same([s.reshape(40, -1)[back] for s in shuffled], [e.reshape(40, -1) for e in expected])


def test_two_branches_of_guidance_run_as_one_batch() -> None:
    module, rng = tiny("slat_flow_tiny"), np.random.default_rng(6)
    coords = np.stack(np.unravel_index(rng.choice(8**3, 30, replace=False), (8,) * 3), -1).astype(np.int32)
    tables = [torch.from_numpy(table) for table in flow_tables(coords, Budget(32, 32)).values()]
    x, cond = torch.randn(1, 32, 8), torch.randn(2, 5, 48)
    with torch.no_grad():
        both = module(x.expand(2, -1, -1), torch.tensor([500.0, 500.0]), cond, *tables)
        each = [module(x, torch.tensor([500.0]), cond[i : i + 1], *tables) for i in range(2)]
    torch.testing.assert_close(both, torch.cat(each), rtol=1e-5, atol=1e-5)
