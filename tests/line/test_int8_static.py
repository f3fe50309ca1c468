"""Static int8 convolutions: ranges from the pipeline itself, the layers they take, and builds that need them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

from gen3dexport import build as building
from gen3dexport.backends import eager
from gen3dexport.errors import UsageError
from gen3dexport.making import keys
from gen3dexport.models.component import Component
from gen3dexport.models.ranges import Ranges, Rounding
from gen3dexport.models.trellis.networks.golden_sets import read_golden
from gen3dexport.plan import Plan, make_plan, read_recipe, read_target
from gen3dexport.quantization.calibration import observing
from gen3dexport.quantization.int8_convolution import Int8Convolution
from gen3dexport.quantization.quantize import convolutions
from gen3dexport.quantization.rules import quantize_by_rules
from gen3dexport.search.trials import Choice, Trials
from gen3dexport.sizing import describe

Cli = Callable[..., tuple[int, str, str]]
GOLDEN = Path(__file__).parents[1] / "golden" / "trellis"
CALIBRATION = "calibration: {prompts: [third, fourth], seed: 7}"


@pytest.fixture
def decoder() -> Component:
    """The golden decoder with ranges of its golden input."""
    made = read_golden(GOLDEN / "ss_dec").component
    with observing(made) as observed:
        made.run()
    return replace(made, ranges=observed.ranges())


@pytest.fixture
def recipe(tiny_recipe: Path) -> Path:
    """The tiny recipe with calibration prompts."""
    tiny_recipe.write_text(tiny_recipe.read_text() + CALIBRATION + "\n")
    return tiny_recipe


def plan(recipe: Path, *assignments: str) -> Plan:
    target = read_target("eager")
    return make_plan(read_recipe(str(recipe), target, assignments), target)


def kinds(component: Component) -> dict[str, type[nn.Module]]:
    layers = (nn.Conv3d, Int8Convolution)
    return {n: type(m) for n, m in component.module.named_modules() if isinstance(m, layers)}


def test_ranges_cover_what_was_seen_and_hooks_go() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()
    made = Component("part", module, {"x": torch.rand(1, 3, 9, 9) * 5 + 1}, ("y",))
    with observing(made) as observed:
        made.run()
        made.run({"x": torch.zeros(1, 3, 9, 9)})
    ranges = observed.ranges()
    assert set(ranges) == {"0", "2"} and not module[0]._forward_hooks
    taken = ranges["0"].input
    low, high = (taken.scale * (end - taken.zero_point) for end in (-128, 127))
    assert low <= 0.01 and 5.5 < high < 6.5  # from 0 to 6
    assert ranges["2"].input.zero_point == -128  # nothing below zero comes out of a ReLU


def test_a_layer_that_was_not_called_has_no_range(decoder: Component) -> None:
    missing = convolutions(decoder)[2]
    fewer = {name: own for name, own in decoder.ranges.items() if name != missing}
    with pytest.raises(UsageError, match=rf"needs the ranges of {missing}, .*calibration.prompts"):
        eager.quantize(replace(decoder, ranges=fewer), "int8-static", eager.Options())
    with pytest.raises(UsageError, match="no convolution"):
        flow = read_golden(GOLDEN / "ss_flow").component
        eager.quantize(flow, "int8-static", eager.Options())


def test_arithmetic_is_that_of_integers() -> None:
    """With steps that are powers of two, every value is exact: the result is the integers' convolution."""
    torch.manual_seed(0)
    plain = nn.Conv1d(2, 3, 3, padding=1, bias=False)
    with torch.no_grad():
        plain.weight.copy_(torch.randint(-127, 128, plain.weight.shape))
        plain.weight[:, 0, 0] = 127  # the largest: the scale is 1
    made = Int8Convolution(plain, Ranges(Rounding(0.5, 3), Rounding(1024.0, -5)))
    assert made.weight.dtype == torch.int8 and torch.equal(made.weight.float(), plain.weight)
    x = torch.randn(1, 2, 20) * 40
    integers = ((x / 0.5).round() + 3).clamp(-128, 127) - 3
    expected = nn.functional.conv1d(integers.double(), plain.weight.double(), padding=1) * 0.5
    expected = (((expected / 1024).round() - 5).clamp(-128, 127) + 5) * 1024
    torch.testing.assert_close(made(x).double(), expected, rtol=0, atol=0)


def test_ends_are_left_and_rules_take_them(decoder: Component) -> None:
    plain = list(kinds(decoder))
    made = quantize_by_rules(
        eager, decoder, "int8-static", {plain[-1]: "int8-static", plain[1]: "fp32"}, eager.Options()
    )
    found = kinds(made)
    assert {name for name, kind in found.items() if kind is nn.Conv3d} == {plain[0], plain[1]}
    assert made.run()["logits"].isfinite().all()


def test_a_recipe_without_prompts_is_told(tiny_recipe: Path, cli: Cli) -> None:
    code, _, err = cli("plan", tiny_recipe, "--target", "eager", "components.decoder.scheme=int8-static")
    assert code == 2 and "components.decoder.scheme: int8-static needs calibration.prompts" in err
    code, _, err = cli("plan", tiny_recipe, "--target", "tpu", "components.decoder.scheme=int8-static")
    assert code == 2 and "refused" in err


def test_build_calibrates_on_its_prompts_alone(recipe: Path, tmp_path: Path) -> None:
    own = plan(recipe, "components.decoder.scheme=int8-static")
    manifest = building.build(own, tmp_path / "bundle")
    assert manifest.component("decoder").scheme == "int8-static"
    assets = load_file(tmp_path / "bundle" / "golden" / "assets.safetensors")
    assert {name.split(".")[0] for name in assets} == {"0", "1"}  # the golden prompts, not the calibration's
    golden = load_file(tmp_path / "bundle" / "golden" / "decoder.safetensors")
    error = golden["0.quantized.logits"] - golden["0.fp32.logits"]
    assert 0 < abs(error).max() < 0.2 * abs(golden["0.fp32.logits"]).max()
    shrunk = building.build(plan(recipe), tmp_path / "plain")
    sizes = [m.bytes_of(m.component("decoder")) for m in (manifest, shrunk)]
    assert sizes[0] < 0.5 * sizes[1]


def test_prompts_and_seed_are_part_of_the_key(recipe: Path, tmp_path: Path) -> None:
    def key(*assignments: str) -> str:
        own = plan(recipe, *assignments)
        states = building.first_states(own, tmp_path)
        return keys.key(own, "flow", states)

    static = "components.decoder.scheme=int8-static"
    found = [key(), key(static), key(static, "calibration.seed=8"), key(static, "calibration.prompts=[third]")]
    assert len(set(found)) == 4
    assert key() == found[0] and key("calibration.seed=8") == found[0]  # nothing is calibrated: nothing changes


def test_trials_try_it_on_convolutions(recipe: Path) -> None:
    trials = Trials(plan(recipe))
    assert trials.groups("flow", "int8-static") == {} and len(trials.assets) == 2
    assert "input_layer" in trials.groups("decoder", "int8-static")
    choice = Choice("int8-static")
    assert trials.bytes("decoder", choice) < 0.5 * trials.bytes("decoder", Choice())
    assert 15 < trials.snr_db("decoder", choice) < 80
    assert 0 <= trials.loss({"decoder": choice}) < 0.2


@pytest.mark.usefixtures("exported_once")
@pytest.mark.parametrize("scheme", [*eager.SCHEMES])
def test_plans_know_the_bytes_of_every_scheme(scheme: str, recipe: Path) -> None:
    name = "decoder" if scheme == "int8-static" else "flow"
    sizes = [describe(plan(recipe, *own))["bytes"] for own in ((), (f"components.{name}.scheme={scheme}",))]
    assert (sizes[1] < sizes[0]) == (scheme != "fp32") and json.dumps(sizes)
