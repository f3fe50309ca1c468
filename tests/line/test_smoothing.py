"""Smoothing: which norms it takes, that float32 keeps its results, that int8 gains, and recipes that ask for it."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport import backends
from gen3dexport import build as building
from gen3dexport.errors import UsageError
from gen3dexport.models import depth_anything_v2
from gen3dexport.models.component import Component
from gen3dexport.models.trellis.networks.golden_sets import read_golden
from gen3dexport.plan import Plan, make_plan, read_recipe, read_target
from gen3dexport.quantization.rules import per_token, quantize_by_rules
from gen3dexport.quantization.smoothing import pairs, smooth, smoothed
from gen3dexport.search.trials import Choice, Trials
from gen3dexport.sizing import check_rules
from gen3dexport.tensor_error import tensor_error

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def depth() -> Component:
    folder = GOLDEN / "depth_anything_v2" / "relative"
    settings = depth_anything_v2.read_settings(folder, depth_anything_v2.Knobs(size=42), True)
    (declared,) = depth_anything_v2.components(settings)
    image = torch.randn(1, 3, 42, 42, generator=torch.Generator().manual_seed(1))
    return declared.load(folder, "random").with_inputs({"image": image})


@pytest.fixture
def flow() -> Component:
    return read_golden(GOLDEN / "trellis" / "ss_flow").component


class Readers(nn.Module):
    """Norms whose results go to linear layers alone, to more than that, out, and to a layer that reads two of them."""

    def __init__(self) -> None:
        super().__init__()
        self.alone, self.both, self.out, self.one, self.other, self.named = (nn.LayerNorm(8) for _ in range(6))
        self.plain = nn.LayerNorm(8, elementwise_affine=False)
        self.first, self.second, self.third, self.fourth, self.twice, self.by_name = (nn.Linear(8, 8) for _ in range(6))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        given = self.alone(x)
        y = self.first(given) + self.second(given)
        given = self.both(x)
        y = (
            y
            + self.third(given).relu()
            + given
            + F.gelu(self.fourth(self.plain(x)))
            + self.by_name(input=self.named(x))
        )
        return y + self.twice(self.one(x)) + self.twice(self.other(x)), self.out(x)


def test_norms_that_linear_layers_alone_read() -> None:
    made = Component("readers", Readers(), {"x": torch.randn(2, 3, 8)}, ("y", "z"))
    assert pairs(made) == {"alone": ("first", "second")}
    assert pairs(made, ["first"]) == {}  # the norm has one weight for both


@pytest.mark.parametrize("name", ["depth", "flow"])
def test_networks_of_the_families(name: str, request: pytest.FixtureRequest) -> None:
    component = request.getfixturevalue(name)
    found, blocks = pairs(component), range(2 if name == "flow" else 4)
    if name == "flow":  # the norms that are modulated have no weights
        assert found == {f"blocks.{i}.norm2": (f"blocks.{i}.cross_attn.to_q",) for i in blocks}
    else:  # the last norm's tokens are cut before the head reads them
        own = {f"encoder.blocks.{i}.norm1": (f"encoder.blocks.{i}.attn.qkv",) for i in blocks}
        assert found == own | {f"encoder.blocks.{i}.norm2": (f"encoder.blocks.{i}.mlp.fc1",) for i in blocks}


@pytest.mark.parametrize("name", ["depth", "flow"])
def test_float32_keeps_its_results_and_int8_gains(name: str, request: pytest.FixtureRequest) -> None:
    """Every norm gets a channel that is 50 times as large as the others, and the layers after it take that back."""
    component = request.getfixturevalue(name)
    expected = component.run()
    for norm, readers in pairs(component).items():
        part = component.module.get_submodule(norm)
        part.weight.data[3] *= 50
        part.bias.data[3] *= 50
        for reader in readers:
            component.module.get_submodule(reader).weight.data[:, 3] /= 50

    def error(strength: float | None, scheme: str) -> float:
        own = request.getfixturevalue(name)
        twin = replace(own, module=copy.deepcopy(own.module))
        backend, rules = backends.find("eager"), {reader: scheme for r in pairs(own).values() for reader in r}
        smoothed(twin, "fp32", rules, strength)
        if scheme != "fp32":
            twin = quantize_by_rules(backend, twin, "fp32", rules, backend.Options(min_features=1))
        return max(tensor_error(v.numpy(), expected[k].numpy()).relative_l2 for k, v in twin.run().items())

    assert error(None, "fp32") < 1e-5
    plain, made = error(None, "int8-dynamic"), error(0.5, "int8-dynamic")
    assert made < plain / 3
    twin = smooth(component, 0.5)
    assert max(tensor_error(v.numpy(), expected[k].numpy()).relative_l2 for k, v in twin.run().items()) < 1e-5


def test_layers_that_round_what_they_read(depth: Component) -> None:
    assert per_token(depth, "fp32", {}) == set() and per_token(depth, "fp16", {}) == set()
    every = per_token(depth, "int8-dynamic", {})
    assert "encoder.blocks.0.attn.qkv" in every and "encoder.blocks.3.mlp.fc2" in every
    assert per_token(depth, "int8-dynamic", {"encoder.blocks.*.attn": "fp32"}) == {
        n for n in every if ".attn." not in n
    }
    assert per_token(depth, "fp32", {"encoder.blocks.0.mlp": "int8-dynamic"}) == {
        f"encoder.blocks.0.mlp.{name}" for name in ("fc1", "fc2")
    }
    before = {name: value.clone() for name, value in depth.module.state_dict().items()}
    assert smoothed(depth, "fp16", {}, 0.5) is depth
    assert all(torch.equal(value, before[name]) for name, value in depth.module.state_dict().items())


def _plan(recipe: Path, *assignments: str) -> Plan:
    target = read_target("eager")
    return make_plan(read_recipe(str(recipe), target, assignments), target)


def test_a_component_without_such_a_norm_is_told(tiny_recipe: Path) -> None:
    plan = _plan(tiny_recipe, "components.decoder.smoothing=0.5")
    with pytest.raises(UsageError, match=r"components\.decoder\.smoothing: it has no norm"):
        check_rules(plan)


def test_builds_and_searches_smooth(tiny_recipe: Path, tmp_path: Path) -> None:
    chosen = ("components.flow.scheme=int8-dynamic", "components.flow.smoothing=0.5")
    plan = _plan(tiny_recipe, *chosen)
    manifest = building.build(plan, tmp_path / "bundle")
    facts = {p.name: p.facts for p in manifest.programs if p.role == "component"}
    assert facts["flow"]["smoothing"] == 0.5 and "smoothing" not in facts["decoder"]
    trials = [Trials(_plan(tiny_recipe, *some)) for some in (chosen, chosen[:1])]
    found = [trial.snr_db("flow", Choice("int8-dynamic")) for trial in trials]
    assert found[0] != found[1]  # the search judges what a build makes
