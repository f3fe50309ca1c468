"""Golden sets of the structured latent: stored voxels as the padded inputs that the networks take."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from gen3dexport.models.trellis.host.slat_inputs import flow_tables, mesh_inputs, window_inputs
from gen3dexport.models.trellis.host.voxel_budget import Budget, cells
from gen3dexport.models.trellis.host.voxel_tables import Coords, padded
from gen3dexport.models.trellis.networks.mesh_decoder import SLatMeshDecoder
from gen3dexport.models.trellis.networks.slat_flow import SLatFlow

OUTPUTS: dict[str, tuple[str, ...]] = {
    "SLatFlowModel": ("v",),
    "SLatGaussianDecoder": ("feats",),
    "SLatRadianceFieldDecoder": ("feats",),
    "SLatMeshDecoder": ("feats",),
    "SLatEncoder": ("mean", "logvar"),
}
_PADDING = 16  # budgets of golden sets are the next multiple that leaves some padding


def coords_of(tensors: Mapping[str, Tensor]) -> Coords:
    """The stored voxels [N, 3], without the batch column."""
    result: Coords = tensors["in.coords"].numpy()[:, 1:]
    return result


def budget_of(coords: Coords) -> Budget:
    """A budget that leaves at least one row of padding, so that every comparison exercises it."""
    return Budget(_more(len(coords)), _more(cells(coords)))


def inputs(module: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Example inputs of a network by name; a sampler's network is called with the noise, at t = 1."""
    coords = coords_of(tensors)
    budget = budget_of(coords)
    feats = tensors["in.noise"] if "in.noise" in tensors else tensors["in.feats"]
    values = torch.from_numpy(padded(feats.numpy(), budget.tokens))
    if isinstance(module, SLatFlow):
        time = tensors.get("in.t", torch.tensor([1000.0]))
        return {"x": values, "t": time, "cond": tensors["in.cond"], **_tensors(flow_tables(coords, budget))}
    window_size = module.window_size
    assert isinstance(window_size, int)
    if isinstance(module, SLatMeshDecoder):
        return {"feats": values, **_tensors(mesh_inputs(coords, budget.tokens, window_size))}
    return {"feats": values, **_tensors(window_inputs(coords, budget.tokens, window_size))}


def _tensors(tables: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(table) for name, table in tables.items()}


def _more(count: int) -> int:
    return (count // _PADDING + 1) * _PADDING
