"""TRELLIS's dense networks: golden parity, released layouts, precision, sampler."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import GOLDEN

from gen3dexport.errors import UsageError
from gen3dexport.models.flow_sampler import Schedule
from gen3dexport.models.trellis.host.configs import NETWORKS
from gen3dexport.models.trellis.networks import loading
from gen3dexport.models.trellis.networks.golden_sets import read_golden
from gen3dexport.models.trellis.networks.structure import SparseStructureFlow
from gen3dexport.validation.parity import compare

SETS = ("ss_flow", "ss_flow_text", "ss_flow_patch2", "ss_dec", "ss_enc", "sampler")
RELEASED = sorted(name for name in NETWORKS if "tiny" not in name)


@pytest.mark.parametrize("name", SETS)
def test_golden_parity(name: str) -> None:
    result = compare("trellis", GOLDEN / name, None, "fp32", None)
    assert result["passed"], result
    assert result["outputs"]


@pytest.mark.parametrize("name", ["ss_flow", "ss_flow_text"])
def test_intermediates_agree(name: str) -> None:
    golden = read_golden(GOLDEN / name)
    module = golden.component.module
    assert isinstance(module, SparseStructureFlow)
    with torch.no_grad():
        h, m, context = module.before(*golden.component.inputs.values())
        torch.testing.assert_close(h, golden.tensors["mid.input_layer"] + module.get_buffer("pos_emb"))
        torch.testing.assert_close(m, golden.tensors["mid.t_emb"], rtol=1e-5, atol=1e-5)
        h = module.blocks[0](h, m, context)
    torch.testing.assert_close(h, golden.tensors["mid.block0"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", RELEASED)
def test_released_keys(name: str) -> None:
    """Keys, shapes and parameter counts of every released checkpoint, and its configuration."""
    expected = json.loads((Path(__file__).parent / "released_keys" / f"{name}.json").read_text())
    cls, args = NETWORKS[name]
    given = {k: v for k, v in expected["config"]["args"].items() if k in args or v not in (None, False)}
    assert {k: args.get(k, v) for k, v in given.items()} == given
    with torch.device("meta"):
        module = loading.network(cls, args)
    state = module.state_dict()
    assert sum(v.numel() for v in state.values()) == expected["parameters"] + sum(
        v.numel() for k, v in state.items() if k in dict(module.named_buffers())
    )
    assert {k: list(v.shape) for k, v in state.items()} == {k: shape for k, (shape, _) in expected["tensors"].items()}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["ss_flow", "ss_dec", "ss_enc"])
def test_half_precision_stays_near_float32(name: str, dtype: torch.dtype) -> None:
    component = read_golden(GOLDEN / name).component
    expected = component.run()
    component.module.set_block_dtype(dtype)  # type: ignore[operator]
    for key, value in component.run().items():
        assert value.dtype == torch.float32
        assert torch.linalg.norm(value - expected[key]) / torch.linalg.norm(expected[key]) < 3e-2


@pytest.mark.parametrize("name", RELEASED)
def test_half_precision_casts_exactly_what_the_release_casts(name: str) -> None:
    keys = json.loads((Path(__file__).parent / "released_keys" / f"{name}.json").read_text())
    cls, args = NETWORKS[name]
    with torch.device("meta"):
        module = loading.network(cls, args)
        module.set_block_dtype(torch.float16)  # type: ignore[operator]
    found = {k: str(v.dtype).removeprefix("torch.") for k, v in module.state_dict().items()}
    assert found == {k: dtype for k, (_, dtype) in keys["tensors"].items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pe_mode": "rope"}, "pe_mode='rope' is not implemented"),
        ({"share_mod": True}, "share_mod=True is not implemented"),
        ({"colour": 3}, "colour"),
    ],
)
def test_unused_options_are_refused(change: dict[str, object], message: str) -> None:
    cls, args = NETWORKS["ss_flow_tiny"]
    with pytest.raises(UsageError, match=message):
        loading.network(cls, {**args, **change})


def test_elastic_prefix_and_default_heads() -> None:
    cls, args = NETWORKS["ss_flow_txt_dit_B_16l8_fp16"]
    args = {k: v for k, v in args.items() if k != "num_heads"}
    with torch.device("meta"):
        module = loading.network(f"Elastic{cls}", args)
    assert module.blocks[0].self_attn.heads == 12  # type: ignore[index,union-attr]


def test_schedule_has_the_released_number_of_calls() -> None:
    """The released samplers: 25 steps, r=3, [0.5, 1]: 19 guided steps, 44 calls; 12 steps: 22 calls."""
    assert Schedule(25, 5.0, (0.5, 1.0), 3.0).calls == 44
    assert Schedule(12, 5.0, (0.5, 1.0), 3.0).calls == 22
