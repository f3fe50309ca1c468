"""Structured-latent networks and the host's work after them, against golden data of the reference implementation.

The sets in this repository are cut to a few megabytes. GEN3DEXPORT_GOLDEN names a folder with the whole sets.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from conftest import GOLDEN
from safetensors.torch import load_file
from test_trellis import SETS as DENSE

from gen3dexport.errors import UsageError
from gen3dexport.models.trellis.host.voxel_tables import neighbours
from gen3dexport.models.trellis.networks.golden_sets import read_golden
from gen3dexport.models.trellis.networks.loading import network
from gen3dexport.models.trellis.networks.mesh_decoder import SLatMeshDecoder
from gen3dexport.models.trellis.networks.slat_flow import SLatFlow
from gen3dexport.models.trellis.networks.slat_golden import coords_of
from gen3dexport.models.trellis.networks.sparse_layers import set_neighbour_gather, upsample
from gen3dexport.validation.parity import compare

SETS = ("slat_flow", "slat_dec_gs", "slat_dec_rf", "slat_enc", "gaussians", "flexicubes_noisy", "ops")
PARTS = ("slat_dec_mesh_refine",)
WHOLE = (*DENSE, *SETS, "slat_flow_text", "slat_dec_mesh", "sampler_slat", "flexicubes")


def test_every_golden_set_is_listed() -> None:
    assert sorted((*DENSE, *SETS, *PARTS)) == sorted(p.name for p in GOLDEN.iterdir())


@pytest.mark.parametrize("name", SETS)
def test_golden_parity(name: str) -> None:
    result = compare("trellis", GOLDEN / name, None, "fp32", None)
    assert result["passed"], result
    assert result["outputs"]


@pytest.mark.skipif("GEN3DEXPORT_GOLDEN" not in os.environ, reason="GEN3DEXPORT_GOLDEN names no folder of whole sets")
@pytest.mark.parametrize("name", WHOLE)
def test_whole_golden_parity(name: str) -> None:
    result = compare("trellis", Path(os.environ["GEN3DEXPORT_GOLDEN"]) / name, None, "fp32", None)
    assert result["passed"], result


@pytest.mark.parametrize("gather", ["all-at-once", "per-plane", "per-line", "per-offset"])
def test_mesh_decoder_after_its_trunk(gather: str) -> None:
    """Both subdivisions and the output layer, with weights of the set slat_dec_mesh."""
    folder = GOLDEN / "slat_dec_mesh_refine"
    tensors, weights = load_file(folder / "io.safetensors"), load_file(folder / "weights.safetensors")
    args = {"resolution": 16, "model_channels": 256, "latent_channels": 8, "num_blocks": 0, "num_heads": 8}
    module = network("SLatMeshDecoder", {**args, "representation_config": {"use_color": True}})
    assert isinstance(module, SLatMeshDecoder)
    missing, unexpected = module.load_state_dict(weights, strict=False)
    assert (missing, unexpected) == (["input_layer.weight", "input_layer.bias"], [])
    set_neighbour_gather(module, gather)  # type: ignore[arg-type]
    coords, padding = coords_of(tensors), 7
    h = torch.nn.functional.pad(tensors["mid.block_last"][None], (0, 0, 0, padding), value=3.0)
    real = (torch.arange(h.shape[1]) < len(coords)).float()
    with torch.no_grad():
        found = module.refine(h, torch.from_numpy(neighbours(coords, h.shape[1])), real)
    expected = tensors["out.feats"]
    error = (found[0, tensors["rows.feats"]] - expected).abs().max() / expected.abs().max()
    assert error < 1e-5


def test_flow_intermediates_agree() -> None:
    golden = read_golden(GOLDEN / "slat_flow")
    assert golden.component is not None
    module = golden.component.module
    assert isinstance(module, SLatFlow)
    count, cells = len(golden.tensors["in.coords"]), len(golden.tensors["mid.coarse_coords"])
    with torch.no_grad():
        h, m, context, mask, table, parent, *skips = module.before(*golden.component.inputs.values())
        found = {
            "t_emb": m,
            "input_block0": skips[0][0, :count],
            "input_block1": skips[1][0, :cells],
            "tokens_after_pos": h[0, :cells],
        }
        h = module.blocks[0](h, m, context, mask)
        found["block0"] = h[0, :cells]
        h = module.blocks[1](h, m, context, mask)
        found["block_last"] = h[0, :cells]
        h = module.out_blocks[0](upsample(torch.cat([h, skips[1]], -1), parent), m, table)
        found["out_block0"] = h[0, :count]
    for name, value in found.items():
        torch.testing.assert_close(value, golden.tensors[f"mid.{name}"], rtol=0, atol=1e-5, msg=name)
    coords = golden.component.inputs["coarse_coords"][:cells]
    assert torch.equal(coords, golden.tensors["mid.coarse_coords"][:, 1:].float())


def test_flow_gather_per_offset_agrees() -> None:
    golden = read_golden(GOLDEN / "slat_flow")
    assert golden.component is not None
    set_neighbour_gather(golden.component.module, "per-offset")
    found = golden.component.run()["v"][0, : len(golden.tensors["out.v"])]
    torch.testing.assert_close(found, golden.tensors["out.v"], rtol=0, atol=5e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["slat_flow", "slat_dec_gs", "slat_dec_rf", "slat_enc"])
def test_half_precision_stays_near_float32(name: str, dtype: torch.dtype) -> None:
    component = read_golden(GOLDEN / name).component
    assert component is not None
    expected = component.run()
    component.module.set_block_dtype(dtype)  # type: ignore[operator]
    for key, value in component.run().items():
        assert value.dtype == torch.float32
        assert torch.isfinite(value).all()
        assert torch.linalg.norm(value - expected[key]) / torch.linalg.norm(expected[key]) < 3e-2


def test_host_sets_have_nothing_to_lower() -> None:
    with pytest.raises(UsageError, match="no network, only the host's work"):
        compare("trellis", GOLDEN / "ops", "eager", "fp32", None)
