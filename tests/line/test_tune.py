"""Tune: the greedy search, what it compares, and the recipe that it writes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sample_reports import estimated, pipeline, program, report, times
from sample_tuned import RESULT, candidate, row, tried

from gen3dexport.backends import eager
from gen3dexport.errors import UnmeasuredError, UsageError
from gen3dexport.plan import read_recipe, read_target
from gen3dexport.reports.judge import number_of
from gen3dexport.reports.records import Latency, Measured, Report, Unmeasured
from gen3dexport.reports.text import basis_text
from gen3dexport.search.candidates import Goal, best, quantity
from gen3dexport.search.page import tune_html
from gen3dexport.search.records import Built, Layer, Tried, Tuned
from gen3dexport.search.trials import Choice
from gen3dexport.search.tune import _furthest, _greedy, cells, head
from gen3dexport.search.tuned_recipe import tuned_recipe

Cli = Callable[..., tuple[int, str, str]]


class Planted:
    """Trials whose losses add up: so much per pattern."""

    def __init__(self, losses: Mapping[str, float]) -> None:
        self.losses = losses
        self.observations = {"flow": SimpleNamespace(count=8), "text": SimpleNamespace(count=1)}

    def loss(self, choices: Mapping[str, Choice]) -> float:
        return sum(self.losses[pattern] for choice in choices.values() for pattern, _ in choice.rules)


def _found(rows: list[Layer], max_loss: float, minimize: str = "size") -> list[dict[str, dict[str, str]]]:
    trials: Any = Planted({row.pattern: row.loss or 0 for row in rows})
    path = _greedy(trials, rows, Goal(minimize, max_loss), lambda component, stage: None)
    assert all(loss == trials.loss(choices) <= max_loss for choices, loss in path)
    return [{name: dict(choice.rules) for name, choice in choices.items()} for choices, _ in path]


def test_the_cheapest_layers_come_first_and_what_costs_too_much_is_skipped() -> None:
    rows = [row("dear", 0.008, 100), row("large", 0.004, 1000), row("cheap", 0.001, 100), row("small", 0.002, 20)]
    path = _found(rows, 0.01)
    assert [list(step["flow"]) for step in path] == [["large"], ["large", "cheap"], ["large", "cheap", "small"]]


def test_a_layer_is_taken_again_only_for_more_bytes() -> None:
    rows = [row("a", 0.001, 100, scheme="bf16"), row("a", 0.003, 150), row("a", 0.004, 120, scheme="int9")]
    assert [step["flow"] for step in _found(rows, 0.01)] == [{"a": "bf16"}, {"a": "int8"}]


def test_what_was_refused_or_saves_nothing_is_left() -> None:
    refused = Layer(component="flow", scheme="int8", pattern="c", layers=1, parameters=9, reason="too narrow")
    rows = [row("a", 0.001, 100), row("b", 0.0, 0), row("d", math.inf, 100), refused]
    assert [step["flow"] for step in _found(rows, 0.01)] == [{"a": "int8"}]


def test_latency_counts_calls() -> None:
    rows = [row("a", 0.001, 100, component="text"), row("b", 0.004, 100)]
    assert list(_found(rows, 0.01)[0]) == ["text"]
    assert list(_found(rows, 0.01, "latency")[0]) == ["flow"]


def _report(latencies: list[Latency], asset: Latency) -> Report:
    rows = zip(("text", "flow"), latencies, strict=True)
    parts = tuple(program(name, latency=latency) for name, latency in rows)
    return report(size_bytes=7_000_000, components=parts, pipeline=pipeline(latency=asset))


def test_quantities_are_measured_estimated_or_unmeasured() -> None:
    none = Unmeasured(reason="no TPU")
    known: list[Latency] = [times(3.0), times(2.0)]
    calls = {"text": 1, "flow": 8}
    assert quantity(_report(known, none), calls, "latency") == Measured(value=19.0)
    assert quantity(_report(known, none), calls, "size") == Measured(value=7)
    assert quantity(_report(known, none), calls, "memory") == Measured(value=5)
    asset = estimated((4, "a"), (5, "b"))
    found = quantity(_report([none, none], asset), calls, "latency")
    assert number_of(found) == 5 and basis_text(found) == "estimated by b"
    assert quantity(_report([known[0], none], none), calls, "latency") == none


@pytest.mark.parametrize(("fits", "built"), [(9, [9]), (5, [9, 4, 6, 5]), (0, [9, 4, 1, 0]), (-1, [9, 4, 1, 0])])
def test_where_built_programs_lose_too_much_the_search_goes_back(fits: int, built: list[int]) -> None:
    def build(point: Tried) -> Built:
        return candidate(point.name, 1.0, 0.0 if int(point.name) <= fits else 1.0)

    found = _furthest([tried(str(k)) for k in range(10)], Goal(), build)
    assert [int(point.name) for point in found] == built
    assert _furthest([], Goal(), build) == []


def test_the_best_is_within_the_loss_and_of_one_kind() -> None:
    found = [candidate("a", 3, 0), candidate("b", 1, 0.02), candidate("c", 2, 0.01)]
    assert best(found, Goal(max_loss=0.01)) == (found[2], 2)
    with pytest.raises(UsageError, match="nothing stays within"):
        best(found, Goal(max_loss=-1))
    with pytest.raises(UnmeasuredError, match="no TPU"):
        best([*found, candidate("d", Unmeasured(reason="no TPU"), 0)], Goal("latency"))
    with pytest.raises(UnmeasuredError, match="some are measured, others estimated"):
        best([*found, candidate("d", estimated((1, "roofline")), 0)], Goal("latency"))


def test_evidence_is_read_back_as_it_was_written() -> None:
    text = RESULT.model_dump_json(by_alias=True)
    assert Tuned.model_validate_json(text) == RESULT
    assert json.loads(text)["sensitivity"]["rows"][1]["loss"] == "inf"


def test_the_page_has_the_plots_and_marks_the_chosen() -> None:
    text = tune_html(RESULT, head(RESULT), [cells(c, RESULT) for c in RESULT.candidates], "name: tuned")
    for place in ("plot-built", "plot-tried", "plot-snr", "plot-loss"):
        assert f'id="{place}"' in text
    assert "<td>chosen</td>" in text.replace(' class="wrap"', "") and "1 - voxels iou; at most 0.01" in text


def test_the_recipe_is_for_its_target_and_wins_over_wider_exceptions(tiny_recipe: Path, tmp_path: Path) -> None:
    tiny_recipe.write_text(
        tiny_recipe.read_text() + "targets: {eager: {golden.seed: 7, components.flow.scheme: bf16}}\n"
    )
    text = tuned_recipe(str(tiny_recipe), ["knobs.sampler.steps=3"], RESULT, ["flow", "decoder"])
    assert text.startswith(f"# Written by gen3dexport tune {tiny_recipe} knobs.sampler.steps=3 --target eager")
    assert "(measured on a CPU), loss 0.0010 (built programs)" in text
    path = tmp_path / "tuned.yaml"
    path.write_text(text)
    recipe = read_recipe(str(path), read_target("eager"))
    assert recipe.name == "trellis-tiny-tuned"
    assert (recipe.golden.seed, recipe.knobs.sampler.steps) == (7, 3)
    assert recipe.scheme("flow", read_target("eager")) == recipe.scheme("decoder", read_target("eager")) == "fp32"
    assert recipe.rules("flow") == {"blocks.*.mlp": "bf16"}
    assert read_recipe(str(path), read_target("onnx")).rules("flow") == {}


def test_the_command(
    tiny_recipe: Path, fast_target: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eager, "SCHEMES", {"fp32": "", "int8-weight": ""})
    out = tmp_path / "tuned.yaml"
    options = ("--max-loss", "0.05", "--candidates", "1", "-o", out, "--json")
    code, text, error = cli("tune", tiny_recipe, "-t", fast_target, *options)
    assert code == 0, error
    result = json.loads(text)
    by = {c["name"]: c for c in result["candidates"]}
    chosen = by[result["chosen"]]
    value = chosen["found"]["value"]
    assert value == min(c["found"]["value"] for c in by.values() if c["loss"] <= 0.05)
    assert result["gain"] == pytest.approx(1 - value / by[result["best_uniform"]]["found"]["value"])
    assert chosen["loss"] <= 0.05 and chosen["loss_of"] == "built programs"
    assert 'id="plot-built"' in out.with_suffix(".html").read_text()
    assert json.loads(out.with_suffix(".json").read_text())["chosen"] == result["chosen"]
    open_ = ("budgets.relative_l2=1", "budgets.relative_l2_fp32=1", "budgets.scores.voxels.iou=0.9")
    code, text, error = cli("build", out, *open_, "-t", fast_target, "-o", tmp_path / "b", "--json")
    assert code == 0, error
    assert json.loads(text)["size_bytes"] == pytest.approx(1e6 * value, rel=1e-3)


def test_an_unknown_quantity(tiny_recipe: Path, cli: Cli) -> None:
    code, _, error = cli("tune", tiny_recipe, "-t", "eager", "--minimize", "weight")
    assert code == 2
    assert "there are size, latency, memory" in error
