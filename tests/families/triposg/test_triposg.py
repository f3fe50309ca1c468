"""TripoSG's networks: golden parity, other depths, the released layout, packed heads, precision."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from triposg_tiny import ENCODER, FILES, GOLDEN, KNOBS, checkpoint

from gen3dexport.errors import UsageError
from gen3dexport.export import Captured, export_module
from gen3dexport.models import triposg
from gen3dexport.models.declaration import AS_STORED, Reading
from gen3dexport.models.triposg.host.model import Transformer, read_model
from gen3dexport.models.triposg.networks import loading
from gen3dexport.models.triposg.networks.golden_sets import read_golden
from gen3dexport.models.triposg.networks.layers import Attention, unpack
from gen3dexport.models.triposg.networks.transformer import Flow
from gen3dexport.networks.packed_heads import by_layer
from gen3dexport.validation.parity import compare

OUTPUTS = {
    "dit": {"sample", "time_sinusoid", "time_proj"},
    "sampler": {"latents", "sigmas", "timesteps"},
    "vae": {"logits", "logits_chunked", "post_quant", "query_embedding"},
    "vae_encoder": {"hidden"},
}
RELEASED = Path(__file__).parents[3] / "weights" / "TripoSG"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("triposg"))


@pytest.fixture(scope="module")
def settings(weights: Path) -> triposg.Settings:
    return triposg.read_settings(weights, triposg.Knobs(**KNOBS), False)


def test_every_golden_set_is_looked_at() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(OUTPUTS)


@pytest.mark.parametrize("name", OUTPUTS)
def test_golden_parity(name: str) -> None:
    result = compare("triposg", GOLDEN / name, None, "fp32", None)
    assert result["passed"], result
    assert {row["output"] for row in result["outputs"]} == OUTPUTS[name]


@pytest.mark.parametrize("count", [100, 300, 513])
def test_a_set_of_more_points_than_a_call_takes(count: int, tmp_path: Path) -> None:
    for path in (GOLDEN / "vae").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(tmp_path / "io.safetensors")
    repeated = torch.arange(count) % 100
    for name in ("in.queries", "out.logits", "out.logits_chunked", "mid.query_embedding"):
        tensors[name] = tensors[name][:, repeated].contiguous()
    save_file(tensors, tmp_path / "io.safetensors")
    assert compare("triposg", tmp_path, None, "fp32", None)["passed"]


def _keys(part: str) -> dict[str, list[int]]:
    found: dict[str, list[int]] = json.loads(Path(__file__).with_name("released_keys.json").read_text())[part]
    return found


@pytest.mark.parametrize(
    ("component", "part", "elements"), [("flow", "transformer", 1_439_556_160), ("query", "vae", 242_662_017)]
)
def test_released_keys(component: str, part: str, elements: int) -> None:
    """Every tensor of the released file, and no other, at the shipped configuration."""
    with torch.device("meta"):
        state = loading.released(component, read_model(RELEASED)).state_dict()
    assert {name: list(value.shape) for name, value in state.items()} == _keys(part)
    assert sum(value.numel() for value in state.values()) == elements


def test_the_released_size_is_planned_from_shapes() -> None:
    settings = triposg.read_settings(RELEASED, triposg.Knobs(), True)
    made = {one.name: one.load(RELEASED, "shapes") for one in triposg.components(settings)}
    shapes = {name: {k: tuple(v.shape) for k, v in one.inputs.items()} for name, one in made.items()}
    assert shapes == {
        "image_encoder": {"image": (1, 3, 224, 224)},
        "flow": {"x": (1, 2048, 64), "t": (1,), "cond": (1, 257, 1024)},
        "latent_decoder": {"z": (1, 2048, 64)},
        "query": {"context": (1, 2, 8, 2048, 128), "points": (1, 8192, 3)},
    }
    timestep = 2048 * 8192 + 8192 + 8192 * 2048 + 2048  # the layers in whose place a table of 50 steps stands
    assert made["flow"].parameters == 1_439_556_160 - timestep + 50 * 2048
    left = sum(np.prod(shape) for name, shape in _keys("vae").items() if name.startswith(("encoder.", "quant.")))
    assert made["latent_decoder"].parameters + made["query"].parameters == 242_662_017 - left


def test_heads_come_before_q_k_and_v() -> None:
    """Written out as the release runs it: the three results side by side, cut into heads, then into three."""
    attention = Attention(12, 12, 2, cross=False, head_norms=False)
    x = torch.randn(1, 5, 12)
    packed = torch.cat([layer(x) for layer in (attention.to_q, attention.to_k, attention.to_v)], -1)
    q, k, v = packed.unflatten(-1, (2, 18)).split(6, dim=-1)
    weights = (torch.einsum("bthd,bshd->bhts", q, k) / 6**0.5).softmax(-1)
    expected = attention.to_out[0](torch.einsum("bhts,bshd->bthd", weights, v).flatten(2))
    with pytest.raises(AssertionError, match="unpack"):
        attention(x, x)
    before = attention.to_q.weight.clone()
    unpack(attention)
    unpack(attention)  # a second time changes nothing
    torch.testing.assert_close(attention(x, x), expected)
    assert not torch.equal(attention.to_q.weight, before)


def test_rows_by_layer() -> None:
    k, v = torch.arange(0, 4.0)[:, None], torch.arange(4.0, 8)[:, None]
    assert [rows.flatten().tolist() for rows in by_layer([k, v], 2)] == [[0, 1, 4, 5], [2, 3, 6, 7]]


@pytest.mark.parametrize(("layers", "pairs"), [(5, {3: 1, 4: 0}), (4, {3: 1}), (1, {}), (2, {}), (6, {4: 2, 5: 1})])
def test_later_blocks_take_what_earlier_ones_gave(layers: int, pairs: dict[int, int]) -> None:
    """Of an even number of blocks, what the first one gives is left over."""
    config = Transformer(num_attention_heads=2, width=8, in_channels=4, num_layers=layers, cross_attention_dim=6)
    flow = Flow(config).eval()
    unpack(flow)
    given: list[Tensor] = []
    taken: dict[int, Tensor] = {}

    def noted(index: int) -> Callable[..., None]:
        def note(module: torch.nn.Module, arguments: tuple[Tensor, ...], result: Tensor) -> None:
            given.append(result)
            if arguments[2] is not None:
                taken[index] = arguments[2]

        return note

    for index, block in enumerate(flow.blocks):
        block.register_forward_hook(noted(index))
    with torch.no_grad():
        flow(torch.randn(1, 3, 4), torch.tensor([500.0]), torch.randn(1, 2, 6))
    assert {index: next(i for i, g in enumerate(given) if g is value) for index, value in taken.items()} == pairs
    assert {i for i, block in enumerate(flow.blocks) if hasattr(block, "skip_linear")} == set(pairs)


def test_a_table_takes_the_place_of_the_timestep_s_layers(weights: Path, settings: triposg.Settings) -> None:
    (one,) = [one for one in triposg.components(settings) if one.name == "flow"]
    tabulated, whole = one.load(weights).module, Flow(settings.model.transformer)
    loading.load_strictly(whole, load_file(weights / FILES["flow"]), "set")
    unpack(whole)
    assert not hasattr(tabulated.time_proj, "linear_1")
    x, cond = torch.randn(1, 20, 8), torch.randn(1, 17, 20)
    with torch.no_grad():
        for t in loading.timesteps(settings):
            time = torch.tensor([t])
            torch.testing.assert_close(tabulated(x, time, cond), whole(x, time, cond), rtol=1e-5, atol=1e-5)
        whole.tabulate_time(range(48, 0, -1))  # as many as the network is wide
    assert hasattr(whole.time_proj, "linear_1")


@pytest.mark.parametrize(
    ("component", "change", "message"),
    [
        ("query", ("decoder.proj_out.bias", None), "missing decoder.proj_out.bias"),
        ("latent_decoder", ("encoder.norm_out.bias", None), "missing encoder.norm_out.bias"),
        ("flow", ("norm_out.weight", torch.ones(3)), r"norm_out.weight has shape \[3\], needs \[48\]"),
        ("flow", ("blocks.0.skip_norm.weight", torch.ones(48)), "unexpected blocks.0.skip_norm.weight"),
        ("image_encoder", ("layernorm.bias", None), "missing layernorm.bias"),
        ("query", ("quant.bias", torch.full((16,), torch.nan)), "NaN"),
    ],
)
def test_other_tensors_are_refused(
    weights: Path, settings: triposg.Settings, tmp_path: Path, component: str, change: tuple[str, Tensor | None],
    message: str,
) -> None:  # fmt: skip
    name, value = change
    state = {k: v for k, v in load_file(weights / FILES[component]).items() if k != name}
    save_file(state | ({} if value is None else {name: value}), tmp_path / "model.safetensors")
    with pytest.raises(UsageError, match=message):
        loading.load_component(component, settings, tmp_path / "model", "stored", AS_STORED)


@pytest.mark.parametrize("component", FILES)
def test_a_prefix_is_named_and_taken_off(
    component: str, weights: Path, settings: triposg.Settings, tmp_path: Path
) -> None:
    state = {f"module.{name}": value for name, value in load_file(weights / FILES[component]).items()}
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(UsageError, match=r"`strip_prefix: module\.`"):
        loading.load_component(component, settings, tmp_path / "model", "stored", AS_STORED)
    loading.load_component(component, settings, tmp_path / "model", "stored", Reading(strip_prefix="module."))


def test_the_image_encoder_is_the_library_s_under_its_names_of_versions_4_and_5(
    weights: Path, settings: triposg.Settings, tmp_path: Path
) -> None:
    from transformers import Dinov2Config, Dinov2Model

    library = Dinov2Model(Dinov2Config(**ENCODER, attn_implementation="sdpa")).eval()
    save_file({k: v.clone() for k, v in library.state_dict().items()}, tmp_path / "model.safetensors")
    network = loading.load_component("image_encoder", settings, tmp_path / "model", "stored", AS_STORED).module
    image = torch.randn(1, 3, 56, 56)
    with torch.no_grad():
        torch.testing.assert_close(network(image), library(image).last_hidden_state, rtol=1e-4, atol=1e-5)
    assert "encoder.layer.0.attention.attention.query.weight" in load_file(weights / FILES["image_encoder"])
    assert "encoder.layer.0.attention.attention.query.weight" not in library.state_dict()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["image_encoder", "flow", "latent_decoder", "query"])
def test_half_precision_stays_near_float32(
    name: str, dtype: torch.dtype, weights: Path, settings: triposg.Settings
) -> None:
    (one,) = [one for one in triposg.components(settings) if one.name == name]
    generator = torch.Generator().manual_seed(0)
    inputs = {k: torch.randn(v.shape, generator=generator) for k, v in one.load(weights, "shapes").inputs.items()}
    component = one.load(weights).with_inputs(inputs)
    expected = component.run()
    component.module.set_block_dtype(dtype)
    for key, value in component.run().items():
        assert value.dtype == torch.float32
        error = torch.linalg.norm(value - expected[key]) / torch.linalg.norm(expected[key])
        assert 0 < error < 4e-2


def test_components_export_with_nothing_unused(weights: Path, settings: triposg.Settings) -> None:
    """Every component as one graph, whose weights are all read; those of blocks alike in three parts, too."""
    for one in triposg.components(settings):
        component = one.load(weights).with_inputs(
            {k: torch.zeros(v.shape) for k, v in one.load(weights, "shapes").inputs.items()}
        )
        exported = export_module(component.module, tuple(component.inputs.values()), one.name)
        assert not [n.name for n in exported.graph.nodes if n.op == "placeholder" and not n.users]
        stack = Captured(component).stack
        assert (stack is None) == (one.name in ("flow", "query"))
        if stack is not None:
            assert len(stack.weights) == 2


def test_a_set_of_another_kind_is_refused(tmp_path: Path) -> None:
    for name in ("config.json", "weights.safetensors", "io.safetensors"):
        (tmp_path / name).write_bytes((GOLDEN / "dit" / name).read_bytes())
    (tmp_path / "meta.json").write_text('{"component": "texture"}')
    with pytest.raises(UsageError, match="a set of 'texture' is not known"):
        read_golden(tmp_path)


@pytest.mark.parametrize(
    ("kind", "tensor"), [("dit", "blocks.3.skip_norm.bias"), ("vae", "decoder.blocks.2.attn2.norm_cross.bias")]
)
def test_a_wrong_weight_fails_parity(kind: str, tensor: str, tmp_path: Path) -> None:
    for path in (GOLDEN / kind).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    state = load_file(tmp_path / "weights.safetensors")
    state[tensor] += 0.01
    save_file(state, tmp_path / "weights.safetensors")
    result = compare("triposg", tmp_path, None, "fp32", None)
    assert not result["passed"]
    assert np.isfinite([row["relative"] for row in result["outputs"]]).all()
