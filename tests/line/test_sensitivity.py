"""Sensitivity of the tiny model's layers, on the eager target."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gen3dexport.plan import make_plan, read_recipe, read_target
from gen3dexport.search.trials import Choice, Trials, stored_bytes

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def trials(tiny_recipe: Path) -> Trials:
    target = read_target("eager")
    return Trials(make_plan(read_recipe(str(tiny_recipe), target), target))


def test_a_trial_is_what_its_definition_says(trials: Trials) -> None:
    choice = Choice("fp32", (("blocks.*.mlp", "bf16"),))
    observation = trials.observations["flow"]
    signal = noise = 0.0
    for inputs, outputs in observation.calls:
        given = {k: torch.from_numpy(v) for k, v in inputs.items()}
        found = trials.quantized("flow", choice).run(given)["v"].double().numpy()
        signal += (outputs["v"].astype(float) ** 2).sum()
        noise += ((found - outputs["v"]) ** 2).sum()
    assert trials.snr_db("flow", choice) == pytest.approx(10 * math.log10(signal / noise))
    assert 20 < trials.snr_db("flow", choice) < 80
    assert trials.snr_db("flow", Choice()) == math.inf


def test_loss_is_that_of_the_asset(trials: Trials) -> None:
    assert trials.loss({}) == 0
    gentle = trials.loss({"flow": Choice("bf16")})
    module = trials.quantized("flow", harsh := Choice("fp32", (("out_layer", "bf16"),))).module
    with torch.no_grad():
        module.get_submodule("out_layer.layer").weight.zero_()
    assert 0 <= gentle < trials.loss({"flow": harsh}) <= 1


def test_the_recorded_model_stays_float32(trials: Trials) -> None:
    module = trials.observations["flow"].component.module
    before = {k: v.clone() for k, v in module.state_dict().items()}
    trials.loss({"flow": Choice("bf16", (("out_layer", "fp16"),))})
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def test_bytes_are_those_of_what_is_stored(trials: Trials) -> None:
    full, half = (trials.bytes("flow", Choice("fp32", rules)) for rules in ((), (("blocks.*.mlp.mlp.0", "bf16"),)))
    assert full - half == 2 * 2 * (64 * 256 + 256)
    assert stored_bytes(torch.nn.Linear(3, 5)) == 4 * (15 + 5)


def test_the_command(tiny_recipe: Path, tmp_path: Path, cli: Cli) -> None:
    page = tmp_path / "page.html"
    options = ("--component", "flow", "--scheme", "bf16", "--scheme", "int8-weight", "-o", page, "--json")
    code, out, error = cli("sensitivity", tiny_recipe, "-t", "eager", *options)
    assert code == 0, error
    rows: list[dict[str, Any]] = json.loads(out)["rows"]
    patterns = [row["pattern"] for row in rows if row["scheme"] == "bf16"]
    assert len(patterns) == 2 + 8 and "blocks.*.self_attn.to_qkv" in patterns and "out_layer" in patterns
    by = {(row["scheme"], row["pattern"]): row for row in rows}
    wide, narrow = (by["int8-weight", f"blocks.*.mlp.mlp.{k}"] for k in (2, 0))
    assert wide["reason"] is None and wide["layers"] == 2 and wide["saved_bytes"] > 2 * 2.9 * 256 * 64
    assert 30 < wide["snr_db"] < 80 and 0 <= wide["loss"] < 0.1
    assert "at least 128 inputs" in narrow["reason"] and narrow["loss"] is None
    text = page.read_text()
    assert 'id="plot-snr"' in text and "blocks.*.mlp.mlp.2 (int8-weight)" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--component", "flo"], "did you mean 'flow'"),
        (["--scheme", "int9-weight"], "did you mean 'int8-weight'"),
        (["golden.assets=false"], "makes no assets"),
        (["random_weights=true"], "has random weights"),
    ],
)
def test_what_it_refuses(tiny_recipe: Path, cli: Cli, options: list[str], message: str) -> None:
    code, _, error = cli("sensitivity", tiny_recipe, *options, "-t", "eager")
    assert code == 2
    assert message in error
