"""Graphs of the structured-latent networks: operators, parts, memory-bound gathers, options."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tiny_slat import TINY, tiny
from torch import nn

from gen3dexport.errors import UsageError
from gen3dexport.export import Captured
from gen3dexport.models.component import Component
from gen3dexport.models.trellis.host.configs import NETWORKS
from gen3dexport.models.trellis.host.slat_inputs import flow_tables, mesh_inputs, window_inputs
from gen3dexport.models.trellis.host.voxel_budget import Budget
from gen3dexport.models.trellis.networks import loading
from gen3dexport.models.trellis.networks.mesh_decoder import SLatMeshDecoder
from gen3dexport.models.trellis.networks.slat_flow import SLatFlow
from gen3dexport.models.trellis.networks.sparse_layers import SubdividedConv3d, fold_convolutions, set_neighbour_gather
from gen3dexport.quantization.int8_linear import Int8Linear
from gen3dexport.quantization.quantize import replace_linears

# Shapes that depend on data, or writes to computed places.
REFUSED = (
    "scatter",
    "unique",
    "nonzero",
    "masked_select",
    "index_put",
    "index_add",
    "sort",
    "bincount",
    "_local_scalar",
)


def component(name: str, gather: str = "all-at-once", **changes: int) -> Component:
    """A tiny network with inputs of a random voxel set."""
    cls, args = NETWORKS[name]
    if "flow" in name or "mesh" in name:
        args = {**args, "neighbour_gather": gather, **changes}
    module = loading.random_network(cls, args, seed=1)
    fold_convolutions(module)
    rng = np.random.default_rng(0)
    coords = np.stack(np.unravel_index(rng.choice(8**3, 30, replace=False), (8,) * 3), -1).astype(np.int32)
    feats = torch.from_numpy(rng.standard_normal((1, 32, 24 if "enc" in name else 8)).astype(np.float32))
    if isinstance(module, SLatFlow):
        inputs, tables = {"x": feats, "t": torch.tensor([300.0]), "cond": torch.randn(1, 5, 48)}, None
        tables = flow_tables(coords, Budget(32, 28))
    elif isinstance(module, SLatMeshDecoder):
        inputs, tables = {"feats": feats}, mesh_inputs(coords, 32)
    else:
        inputs, tables = {"feats": feats}, window_inputs(coords, 32)
    inputs |= {k: torch.from_numpy(v) for k, v in tables.items()}
    outputs = ("mean", "logvar") if "enc" in name else ("out",)
    return Component(name, module, inputs, outputs, getattr(module, "stack", None))


CONVOLVING = [name for name in TINY if "flow" in name or "mesh" in name]


@pytest.mark.parametrize(
    ("name", "gather"), [(n, "all-at-once") for n in TINY] + [(n, "per-offset") for n in CONVOLVING]
)
def test_graph_has_fixed_shapes_and_no_scatter(name: str, gather: str) -> None:
    # 27 gathers a convolution make large graphs: there, one of each kind of blocks.
    few = {"num_blocks": 1} | ({"num_io_res_blocks": 1} if "flow" in name else {})
    made = component(name, gather, **(few if gather == "per-offset" else {}))
    program = Captured(made).whole
    called = {str(n.target) for n in program.graph.nodes if n.op == "call_function"}
    decomposed = program.run_decompositions()
    called |= {str(n.target) for n in decomposed.graph.nodes if n.op == "call_function"}
    assert not [op for op in called if any(word in op for word in REFUSED)]
    for node in program.graph.nodes:
        for value in torch.utils._pytree.tree_leaves(node.meta.get("val")):
            assert not isinstance(value, torch.Tensor) or all(isinstance(size, int) for size in value.shape)
    found = program.module()(*made.inputs.values())
    for one, other in zip(found if isinstance(found, tuple) else (found,), made.run().values(), strict=True):
        torch.testing.assert_close(one, other)


def test_flow_parts_compose_to_the_whole() -> None:
    """`after` reads the skips that `before` made; blocks read only the first of what is shared."""
    made = component("slat_flow_tiny")
    stack = Captured(made).stack
    expected = made.run()["out"]
    assert stack is not None
    assert len(stack.weights) == 2
    with torch.no_grad():
        x, *shared = stack.before.module()(*made.inputs.values())
        for weights in stack.weights:
            block = stack.block.module()
            block.load_state_dict(copy.deepcopy(dict(weights)))  # into the network's own block 0: expected is known
            x = block(x, *shared[:3])
        found = stack.after.module()(x, *shared)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["slat_flow_tiny", "slat_dec_mesh_tiny"])
def test_folded_convolutions_are_linear_layers_with_the_same_result(name: str) -> None:
    """Released form and folded form, gathering either way, and back."""
    made = component(name)
    expected = tiny(name)(*made.inputs.values())
    assert not any(".conv." in key for key in made.module.state_dict())
    for gather in ("all-at-once", "per-plane", "per-line", "per-offset", "all-at-once"):
        set_neighbour_gather(made.module, gather)  # type: ignore[arg-type]
        torch.testing.assert_close(made.run()["out"], expected, rtol=1e-4, atol=1e-5)
    released, folded = (sum(p.numel() for p in module.parameters()) for module in (tiny(name), made.module))
    subdivided = [m.conv for m in tiny(name).modules() if isinstance(m, SubdividedConv3d)]
    weights, biases = (sum(getattr(conv, key).numel() for conv in subdivided) for key in ("weight", "bias"))
    assert folded - released == weights * (64 - 27) // 27 + biases * (8 - 1)  # 8 products of 8 offsets, not 27


@pytest.mark.parametrize("name", ["slat_flow_tiny", "slat_dec_mesh_tiny"])
@pytest.mark.parametrize("gather", ["all-at-once", "per-offset"])
def test_folded_convolutions_take_layers_of_any_class(name: str, gather: str) -> None:
    """Int8 layers of this package are no `nn.Linear`: they must run all the same."""
    made = component(name, gather)
    expected = made.run()["out"]
    products = [n for n, m in made.module.named_modules() if isinstance(m, nn.Linear) and ".products." in n]
    replace_linears(made, products, Int8Linear)
    assert len(products) > 2
    error = (made.run()["out"] - expected).norm() / expected.norm()
    assert 1e-4 < error < 0.05


def test_released_form_learns() -> None:
    """Gradients reach the convolutions' weights before they are folded."""
    module = loading.random_network(*NETWORKS["slat_flow_tiny"], seed=1)
    module(*component("slat_flow_tiny").inputs.values()).square().sum().backward()
    assert all(p.grad is not None for p in module.parameters())


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("slat_flow_tiny", {"patch_size": 4}, "patch_size=4"),
        ("slat_flow_tiny", {"io_block_channels": [32, 64]}, "io_block_channels"),
        ("slat_flow_tiny", {"use_skip_connection": False}, "use_skip_connection=False"),
        ("slat_flow_tiny", {"neighbour_gather": "sometimes"}, "neighbour_gather='sometimes'"),
        ("slat_dec_gs_tiny", {"attn_mode": "full"}, "attn_mode='full' is not implemented"),
        ("slat_dec_gs_tiny", {"representation_config": {"lr": {}}}, "representation_config: num_gaussians: missing"),
        ("slat_dec_rf_tiny", {"representation_config": {}}, "representation_config: rank: missing"),
        ("slat_dec_mesh_tiny", {"model_channels": 96}, "multiple of 256"),
    ],
)
def test_options_without_a_release_are_refused(name: str, change: dict[str, object], message: str) -> None:
    cls, args = NETWORKS[name]
    with pytest.raises(UsageError, match=message):
        loading.network(cls, {**args, **change})


def test_elastic_names_are_the_same_networks() -> None:
    for name in TINY:
        cls, args = NETWORKS[name]
        assert type(loading.network(f"Elastic{cls}", args)) is type(tiny(name))
