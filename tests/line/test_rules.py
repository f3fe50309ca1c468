"""Rules inside a component: which layers they take, what is left by default, and what every backend does with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gen3dexport import backends
from gen3dexport.errors import UsageError
from gen3dexport.export import Captured
from gen3dexport.models.component import Component
from gen3dexport.models.trellis.networks.golden_sets import read_golden
from gen3dexport.networks.bert import BertTokenEncoder
from gen3dexport.quantization.int8_embedding import Int8Embedding
from gen3dexport.quantization.int8_linear import Int8Linear
from gen3dexport.quantization.quantize import InDtype, linears
from gen3dexport.quantization.rules import embeddings, exceptions, generic, layers_of, quantize_by_rules
from gen3dexport.runtime.pipeline import to_numpy
from gen3dexport.tensor_error import tensor_error

Cli = Callable[..., tuple[int, str, str]]
GOLDEN = Path(__file__).parents[1] / "golden" / "trellis"
BLOCK = ["self_attn.to_qkv", "self_attn.to_out", "cross_attn.to_q", "cross_attn.to_kv", "cross_attn.to_out"] + [
    f"{name}.{k}" for name, k in (("mlp.mlp", 0), ("mlp.mlp", 2), ("adaLN_modulation", 1))
]


@pytest.fixture
def flow() -> Component:
    return read_golden(GOLDEN / "ss_flow").component


def _eager(component: Component, scheme: str, rules: Mapping[str, str]) -> Component:
    backend = backends.find("eager")
    return quantize_by_rules(backend, component, scheme, rules, backend.Options(min_features=1))


def _weights(component: Component) -> dict[str, str]:
    """Layer -> what its weight is: a dtype, or `int8`."""
    found = {}
    for name, module in component.module.named_modules():
        if isinstance(module, nn.Linear | nn.Conv3d | Int8Linear):
            kind = "int8" if type(module.weight).__name__ == "Int8Tensor" else str(module.weight.dtype)
            found[name.removesuffix(".layer")] = kind.removeprefix("torch.")
    return found


def test_ends_norms_and_embeddings_are_left_by_default(flow: Component) -> None:
    assert linears(flow) == [f"blocks.{b}.{name}" for b in range(2) for name in BLOCK]
    weights = _weights(_eager(flow, "int8-weight", {}))
    left = {name for name, kind in weights.items() if kind != "int8"}
    assert left == {"t_embedder.mlp.0", "t_embedder.mlp.2", "input_layer", "out_layer"}


def test_without_a_stack_lists_are_the_inside() -> None:
    module = BertTokenEncoder(10, 16, 2, 2, 32, 8)
    component = Component("text_encoder", module, {}, ("features",))
    assert len(linears(component)) == 2 * 6
    assert {generic(component, name) for name in linears(component)} == {
        f"encoder.layer.*.{n}"
        for n in (
            "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
            "intermediate.dense", "output.dense",
        )
    }  # fmt: skip


def test_embeddings_take_int8_by_a_rule_alone() -> None:
    def component() -> Component:
        torch.manual_seed(0)
        module, ids = BertTokenEncoder(512, 64, 2, 2, 32, 16).eval(), torch.arange(12)[None]
        return Component("text_encoder", module, {"ids": ids, "mask": torch.ones_like(ids)}, ("features",))

    whole, table = component(), "embeddings.word_embeddings"
    quantized = _eager(component(), "fp32", {table: "int8-dynamic"})
    kept = quantized.module.get_submodule(table)
    assert isinstance(kept, Int8Embedding) and kept.numbers.dtype == torch.int8 and kept.numbers.shape == (512, 64)
    found, expected = to_numpy(quantized.run()), to_numpy(whole.run())
    assert 0 < tensor_error(found["features"], expected["features"]).relative_l2 < 0.01
    assert exceptions(whole, {"**": "int4-dynamic"}).keys() == {*layers_of(whole)} - embeddings(whole)
    everything = _eager(component(), "fp32", {"embeddings": "int8-weight"})  # those whose tables are read whole, too
    assert all(isinstance(everything.module.get_submodule(name), Int8Embedding) for name in embeddings(whole))
    everything.run()
    with pytest.raises(UsageError, match="an embedding takes fp32, int8-dynamic, int8-weight, not bf16"):
        exceptions(whole, {table: "bf16"})


@pytest.mark.parametrize(("count", "taken"), [(1, ["0"]), (2, ["0", "1"]), (4, ["1", "2"])])
def test_without_lists_the_first_and_last_are_left(count: int, taken: list[str]) -> None:
    module = nn.Sequential(*(nn.Linear(4, 4) for _ in range(count)))
    assert linears(Component("mlp", module, {}, ("y",))) == taken


@pytest.mark.parametrize(
    ("rules", "taken"),
    [
        ({"blocks.0.mlp": "fp32"}, {"blocks.0.mlp.mlp.0", "blocks.0.mlp.mlp.2"}),
        ({"**.to_q": "fp32"}, {"blocks.0.cross_attn.to_q", "blocks.1.cross_attn.to_q"}),
        ({"blocks.1.*.to_out": "fp32"}, {"blocks.1.self_attn.to_out", "blocks.1.cross_attn.to_out"}),
        ({"*_layer": "bf16"}, {"input_layer", "out_layer"}),
    ],
    ids=str,
)  # fmt: skip
def test_patterns(flow: Component, rules: dict[str, str], taken: set[str]) -> None:
    assert exceptions(flow, rules) == dict.fromkeys(taken, *rules.values())


def test_the_last_rule_wins(flow: Component) -> None:
    found = exceptions(flow, {"blocks.*.mlp": "fp32", "blocks.*.mlp.mlp.2": "bf16"})
    assert found["blocks.0.mlp.mlp.0"] == "fp32" and found["blocks.1.mlp.mlp.2"] == "bf16"


def test_a_rule_that_matches_nothing_names_the_nearest(flow: Component) -> None:
    with pytest.raises(UsageError) as error:
        exceptions(flow, {"blocks.*.self_atn": "fp32", "out_layers": "fp32", "*": "bf16"})
    assert "'blocks.*.self_atn' matches no layer of ss_flow; did you mean 'blocks.*.self_attn'?" in str(error.value)
    assert "'out_layers' matches no layer of ss_flow; did you mean 'out_layer'?" in str(error.value)


@pytest.mark.parametrize(
    ("scheme", "rules", "mlp", "attn", "out_layer"),
    [
        ("int8-weight", {"blocks.*.mlp": "fp32", "out_layer": "int8-weight"}, "float32", "int8", "int8"),
        ("int8-weight", {"blocks.*.mlp": "bf16"}, "bfloat16", "int8", "float32"),
        ("fp32", {"blocks.*.mlp": "int8-dynamic"}, "int8", "float32", "float32"),
        ("bf16", {"blocks.*.mlp": "fp32", "out_layer": "bf16"}, "float32", "bfloat16", "bfloat16"),
        ("bf16", {"blocks.*.mlp": "int8-weight"}, "int8", "bfloat16", "float32"),
        ("bf16", {"blocks.*.mlp": "fp16"}, "float16", "bfloat16", "float32"),
        ("fp32", {"*": "int8-weight"}, "int8", "int8", "int8"),
    ],
    ids=str,
)
def test_schemes_mix(flow: Component, scheme: str, rules: dict[str, str], mlp: str, attn: str, out_layer: str) -> None:
    before = flow.run()["v"]
    mixed = _eager(flow, scheme, rules)
    weights = _weights(mixed)
    for part, kind in (("mlp", mlp), ("attn", attn), ("out_layer", out_layer)):
        assert {k for name, k in weights.items() if part in name and "t_embedder" not in name} == {kind}, part
    assert 0 < tensor_error(mixed.run()["v"].float(), before).relative_l2 < 0.05


def test_what_a_rule_takes_out_of_half_precision_keeps_its_float32_weights(flow: Component) -> None:
    own = {k: v.clone() for k, v in flow.module.state_dict().items() if ".mlp.mlp.0." in k}
    mixed = _eager(flow, "bf16", {"blocks.*.mlp": "fp32"})
    assert isinstance(mixed.module.get_submodule("blocks.0.mlp.mlp.0"), InDtype)
    for name, value in own.items():
        found = mixed.module.state_dict()[name.replace("mlp.0.", "mlp.0.layer.")]
        assert torch.equal(found, value)


def test_convolutions_take_half_precision_rules() -> None:
    decoder = read_golden(GOLDEN / "ss_dec").component
    assert "out_layer.2" in layers_of(decoder)
    assert _weights(_eager(decoder, "fp32", {"blocks.4": "bf16"}))["blocks.4.conv1"] == "bfloat16"
    with pytest.raises(UsageError, match=r"ss_dec: blocks\.\d.*no linear layer"):
        _eager(decoder, "fp32", {"blocks.*": "int8-weight"})


def test_blocks_of_one_form_are_captured_once_and_others_whole(flow: Component) -> None:
    assert Captured(_eager(flow, "int8-weight", {"blocks.*.mlp": "fp32"})).stack is not None


@pytest.mark.parametrize("rule", [{"blocks.1.mlp": "fp32"}, {"blocks.0.mlp": "int8-dynamic"}])
def test_a_rule_for_one_block_is_no_stack(flow: Component, rule: dict[str, str]) -> None:
    assert Captured(_eager(flow, "int8-weight", rule)).stack is None


def test_a_build_with_rules(tiny_recipe: Path, fast_target: Path, tmp_path: Path, cli: Cli) -> None:
    rules = 'components.flow.rules={"blocks.*.mlp": bf16, out_layer: bf16}'
    open_ = ("budgets.relative_l2=1", "budgets.relative_l2_fp32=1", "budgets.scores.voxels.iou=0")
    arguments = ("build", tiny_recipe, rules, *open_)
    code, out, error = cli(*arguments, "-t", fast_target, "-o", tmp_path / "b", "--json")
    assert code == 0, error
    flow = json.loads(out)["components"][0]
    assert flow["scheme"] == "fp32 and 2 rules"
    assert flow["facts"]["rules"] == {"blocks.*.mlp": "bf16", "out_layer": "bf16"}
    assert float(flow["errors"]["fp32"]["v"]["relative_l2"]) > 1e-5


@pytest.mark.parametrize("command", ["build", "plan"])
@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("{blocks.*.mpl: bf16}", "'blocks.*.mpl' matches no layer of flow; did you mean 'blocks.*.mlp'?"),
        ("{blocks.*.mlp: bf15}", "components.flow.rules.blocks.*.mlp: unknown 'bf15'; did you mean 'bf16'?"),
    ],
)
def test_a_bad_rule_stops_before_any_weight_is_read(
    tiny_recipe: Path, cli: Cli, command: str, rule: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gen3dexport.models.trellis.networks import loading

    monkeypatch.setattr(loading, "read_weights", lambda *_: pytest.fail("weights were read"))
    code, _, error = cli(command, tiny_recipe, f"components.flow.rules={rule}", "-t", "eager")
    assert code == 2
    assert message in error


@pytest.mark.usefixtures("exported_once")
def test_a_plan_counts_what_rules_take(tiny_recipe: Path, cli: Cli) -> None:
    sizes: dict[str, Any] = {}
    for name, rule in (("none", "{}"), ("half", "{blocks.*.mlp: bf16}")):
        _, out, _ = cli("plan", tiny_recipe, f"components.flow.rules={rule}", "-t", "eager", "--json")
        sizes[name] = json.loads(out)["components"][0]["bytes"]
    assert sizes["none"] - sizes["half"] == 2 * (2 * 2 * 64 * 256)  # two matrices of 64 x 256 in each of two blocks
