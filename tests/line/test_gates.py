"""Gates: a quantized program that is not smaller, is slower or costs quality fails its build, with its exit code."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from sample_reports import estimated, pipeline, program
from torch import Tensor, nn

from gen3dexport.backends import eager
from gen3dexport.bundle import stage_cache
from gen3dexport.bundle.manifest import Unquantized, read_manifest
from gen3dexport.bundle.program import ProgramRecord
from gen3dexport.documents.budgets import Budgets
from gen3dexport.documents.target import Measure
from gen3dexport.models.component import Component
from gen3dexport.reports.judge import exit_code, judge
from gen3dexport.reports.records import (
    BesideUnquantized,
    Measured,
    MeasuredSlowdown,
    ProgramReport,
    Slowdown,
    Unmeasured,
)
from gen3dexport.reports.report import read_report
from gen3dexport.reports.unquantized import against_unquantized, worst_slowdown
from gen3dexport.validation import gates
from gen3dexport.validation.gates import time_in_turn
from gen3dexport.validation.timing import time_calls

Cli = Callable[..., tuple[int, str, str]]
NAMES = ("flow", "decoder")
OPEN = [
    "budgets.relative_l2=10",
    "budgets.relative_l2_fp32=10",
    "budgets.scores.voxels.iou=0",
    "components.flow.scheme=bf16",
]


def _build(cli: Cli, recipe: Path, out: Path, *assignments: str) -> tuple[int, dict[str, Any]]:
    target = recipe.with_name("eager-fast.yaml")
    code, text, error = cli("build", recipe, *OPEN, *assignments, "-t", target, "-o", out, "--json")
    assert text, error
    return code, json.loads(text)


def _budget(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(b for b in report["budgets"] if b["name"] == name)


@pytest.fixture(autouse=True)
def _fast(fast_target: Path) -> None:
    """Builds here are for the eager target with few timed runs."""


class Planted(nn.Module):
    """A network that is run more than once, with bytes that nothing needs, or weights that are off."""

    def __init__(self, module: nn.Module, times: int, extra: int, noise: float) -> None:
        super().__init__()
        self.module, self.times = module, times
        self.register_buffer("extra", torch.randn(extra))
        with torch.no_grad():
            for parameter in module.parameters():
                parameter += noise * torch.randn_like(parameter)

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        total = self.module(x, t, cond) + self.extra.sum() * 0
        for k in range(1, self.times):
            total = total + self.module(x + 1e-3 * k, t, cond)
        return total / self.times


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Make the eager backend's bf16 a bad quantization."""
    quantize = eager.quantize

    def planting(times: int = 1, extra: int = 1, noise: float = 0.0) -> None:
        _own_cache(monkeypatch, tmp_path / "cache")  # bf16's entries are not those of the sources

        def planted(
            component: Component, scheme: str, options: eager.Options, layers: Sequence[str] | None = None
        ) -> Component:
            if scheme != "bf16":
                return quantize(component, scheme, options, layers)
            return Component(
                component.name, Planted(component.module, times, extra, noise).eval(), component.inputs, ("v",)
            )

        monkeypatch.setattr(eager, "quantize", planted)

    return planting


def _own_cache(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    """A stage cache of a test's own, which begins with the entries of the tests' but those of bf16."""
    shared = stage_cache.folder()
    monkeypatch.setenv("GEN3DEXPORT_CACHE", str(place))
    stage_cache.folder().mkdir(parents=True)
    for path in shared.glob("*/entry.json"):
        if '"scheme": "bf16"' not in path.read_text():
            (stage_cache.folder() / path.parent.name).symlink_to(path.parent)


def test_without_the_gates_nothing_is_lowered_twice(half_bundle: Path) -> None:
    assert read_manifest(half_bundle).unquantized == {}
    names = [budget.name for budget in read_report(half_bundle).budgets]
    assert names == ["relative_l2", "relative_l2_fp32", "voxels.iou"]


def test_a_build_without_quantization_has_nothing_to_compare(
    tiny_recipe: Path, tiny_bundle: Path, tmp_path: Path, cli: Cli
) -> None:
    gated = ("components.flow.scheme=fp32", "budgets.size_ratio=0.9", "budgets.allow_slowdown=0")
    target = tiny_recipe.with_name("eager-fast.yaml")
    assert cli("build", tiny_recipe, *gated, "-t", target, "-o", tmp_path / "b", "--skip-validation")[0] == 0
    manifest, report = read_manifest(tmp_path / "b"), read_report(tiny_bundle)
    assert manifest.unquantized == {} and read_manifest(tiny_bundle).files == manifest.files
    set_ = {name: limit for name, limit in manifest.recipe["budgets"].items() if limit is not None}
    assert {"size_ratio", "allow_slowdown"} <= set(set_)
    judged = judge(Budgets(**set_), report.components, report.pipeline, report.size_bytes)
    assert not {"size_ratio", "allow_slowdown"} & {budget.name for budget in judged}
    assert exit_code(report.model_copy(update={"budgets": judged})) == 0


def test_not_smaller_and_slower_fail(tiny_recipe: Path, tmp_path: Path, cli: Cli, plant: Callable[..., None]) -> None:
    plant(times=4, extra=1_000_000)
    gated = ("budgets.size_ratio=0.99", "budgets.allow_slowdown=0.5")
    code, report = _build(cli, tiny_recipe, tmp_path / "b", *gated)
    assert code == 6
    for name, least in (("size_ratio", 1), ("allow_slowdown", 0.5)):
        budget = _budget(report, name)
        assert (budget["verdict"], budget["basis"], budget["reason"]) == ("fail", "measured", "flow")
        assert budget["value"] > least


def test_lost_quality_fails(tiny_recipe: Path, tmp_path: Path, cli: Cli, plant: Callable[..., None]) -> None:
    plant(noise=0.3)
    missed = {"voxels.iou": 0.999, "mesh.f_score": 0.9999}
    budgets = [f"budgets.scores.{name}={limit}" for name, limit in missed.items()]
    code, report = _build(cli, tiny_recipe, tmp_path / "b", *budgets)
    assert code == 5
    assert {_budget(report, name)["verdict"] for name in missed} == {"fail"}


def test_another_baseline(tiny_recipe: Path, tmp_path: Path, cli: Cli) -> None:
    fields = ("budgets.size_ratio=0.9", "budgets.baseline=bf16", "components.flow.scheme=int8-weight")
    code, report = _build(cli, tiny_recipe, tmp_path / "b", *fields)
    assert code == 6  # this network is so narrow that int8 takes few of its layers, bf16 all
    flow = report["components"][0]
    assert flow["unquantized"]["scheme"] == "bf16"
    assert flow["unquantized"]["size_ratio"] > 0.9
    code, _, error = cli("build", tiny_recipe, "budgets.size_ratio=1", "budgets.baseline=fp23", "-t", "eager")
    assert code == 2 and "budgets.baseline: unknown 'fp23'; did you mean 'fp32'?" in error


def test_a_smaller_program_passes_where_its_stage_cache_is_not_and_the_bundle_holds_only_it(
    tiny_recipe: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    _own_cache(monkeypatch, tmp_path / "cache")
    gated = [*OPEN, "budgets.size_ratio=0.9", "budgets.allow_slowdown=20"]
    target = tiny_recipe.with_name("eager-fast.yaml")
    assert cli("build", tiny_recipe, *gated, "-t", target, "-o", tmp_path / "b", "--skip-validation")[0] == 0
    shutil.rmtree(stage_cache.folder())
    shutil.move(tmp_path / "b", tmp_path / "elsewhere")
    code, out, _ = cli("validate", tmp_path / "elsewhere", "--json")
    report, manifest = json.loads(out), read_manifest(tmp_path / "elsewhere")
    assert code == 0
    budget = _budget(report, "allow_slowdown")
    assert (budget["verdict"], budget["basis"]) == ("pass", "measured")
    flow, decoder = report["components"]
    assert decoder["unquantized"] is None  # it is not quantized
    size = flow["program_bytes"] + flow["weights_bytes"]
    assert flow["unquantized"]["size_ratio"] == pytest.approx(size / flow["unquantized"]["bytes"])
    assert flow["unquantized"]["slowdown"]["basis"] == "measured"
    assert _budget(report, "size_ratio")["value"] == flow["unquantized"]["size_ratio"] < 0.9
    assert sorted(p.name for p in (tmp_path / "elsewhere" / "programs").iterdir()) == ["decoder.pt2", "flow.pt2"]
    assert sorted(p.name for p in (tmp_path / "elsewhere" / "baseline").iterdir()) == ["flow.pt2"]
    assert manifest.files["baseline/flow.pt2"].bytes == manifest.unquantized["flow"].bytes
    assert report["size_bytes"] == sum((tmp_path / "elsewhere" / "programs" / f"{n}.pt2").stat().st_size for n in NAMES)


@pytest.mark.parametrize("harm", ["missing", "changed"])
def test_a_damaged_baseline_is_refused(tiny_recipe: Path, tmp_path: Path, cli: Cli, harm: str) -> None:
    gated = [*OPEN, "budgets.allow_slowdown=20"]
    assert cli("build", tiny_recipe, *gated, "-t", "eager", "-o", tmp_path / "b", "--skip-validation")[0] == 0
    path = tmp_path / "b" / "baseline" / "flow.pt2"
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    code, _, error = cli("validate", tmp_path / "b")
    assert code == 7
    assert f"baseline/flow.pt2: {'missing' if harm == 'missing' else 'SHA-256 differs'}" in error


def test_a_size_budget_ships_no_baseline(tiny_recipe: Path, tmp_path: Path, cli: Cli) -> None:
    code, report = _build(cli, tiny_recipe, tmp_path / "b", "budgets.size_ratio=0.9")
    assert code == 0 and not (tmp_path / "b" / "baseline").exists()
    assert _budget(report, "size_ratio")["verdict"] == "pass"  # its size is recorded
    slowdown = report["components"][0]["unquantized"]["slowdown"]
    assert slowdown["basis"] == "unmeasured" and "budgets.allow_slowdown" in slowdown["reason"]


def _record(estimates: dict[str, float]) -> ProgramRecord:
    found = {"latency_ms": [{"value": v, "by": by} for by, v in estimates.items()]}
    return ProgramRecord(name="flow", component="flow", files=("f",), inputs={}, outputs={}, estimates=found)


def test_estimates_pass_only_where_they_are_accepted() -> None:
    other = Unquantized(program=_record({"roofline": 4, "b": 1}), bytes=8)
    beside = against_unquantized(_record({"roofline": 2, "a": 1}), 4, other, Unmeasured(reason="no TPU"))
    assert beside.size_ratio == 0.5
    assert beside.slowdown == estimated((-0.5, "roofline"))
    verdicts = {}
    for accept in (False, True):
        budgets = Budgets(allow_slowdown=0, accept_estimates=accept)
        (budget,) = judge(budgets, [program(unquantized=beside)], pipeline(), 4)
        assert (budget.name, budget.basis, budget.by) == ("allow_slowdown", "estimated", "roofline")
        verdicts[accept] = budget.verdict
    assert verdicts == {False: "unmeasured", True: "pass"}


def test_one_estimate_makes_the_whole_estimated() -> None:
    measured = MeasuredSlowdown(slowdown=0.5, p50_ms=3, unquantized_p50_ms=2, runs=5, threads=2)

    def beside(name: str, slowdown: Slowdown) -> ProgramReport:
        found = BesideUnquantized(scheme="fp32", bytes=8, size_ratio=0.5, slowdown=slowdown)
        return program(name, unquantized=found)

    components = [beside("a", measured), beside("b", estimated((0.1, "roofline")))]
    assert worst_slowdown(components) == (estimated((0.5, "roofline")), "a")
    assert worst_slowdown(components[:1]) == (Measured(value=0.5), "a")
    unknown = beside("c", Unmeasured(reason="no GPU"))
    assert worst_slowdown([*components, unknown]) == (Unmeasured(reason="c: no GPU"), "c")


def test_times_are_taken_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, order = [0.0], []
    monkeypatch.setattr(gates.time, "perf_counter", lambda: clock[0])

    def call(name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            order.append(name)
            clock[0] += seconds * (1 + len(order) // 8)  # the machine gets slower

        return run

    found = time_in_turn(call("own", 3), call("other", 2), Measure(warmup=1, runs=6))
    assert found.slowdown == pytest.approx(0.5, abs=1e-6)
    assert order[:6] == ["own", "other", "other", "own", "own", "other"]


def test_slow_programs_are_timed_by_fewer_calls() -> None:
    calls: list[int] = []

    def call() -> None:
        calls.append(0)
        time.sleep(0.002)

    slow = time_calls(call, Measure(warmup=1, runs=50, seconds=0.001))
    assert slow.runs == 5 and len(calls) == 6
    assert time_calls(lambda: None, Measure(warmup=0, runs=8)).runs == 8


@pytest.mark.parametrize(("before", "called", "warmup"), [(0, 7, 3), (2, 5, 3), (5, 4, 5)])
def test_calls_just_before_warm_a_program_up_as_well(before: int, called: int, warmup: int) -> None:
    calls = []
    times = time_calls(lambda: calls.append(None), Measure(warmup=3, runs=4), before)
    assert (len(calls), times.warmup, times.runs) == (called, warmup, 4)
