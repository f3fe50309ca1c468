"""Tune's search of sampler settings: moves, static lists of steps, prompts held out, and the recipe that is written."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny_recipes
from pydantic import BaseModel
from sample_tuned import RESULT

from gen3dexport import models
from gen3dexport.backends import eager
from gen3dexport.documents.recipe import ComponentChoice
from gen3dexport.errors import UsageError
from gen3dexport.models.flow_sampler import Schedule, sample
from gen3dexport.plan import Plan, make_plan, read_recipe, read_target
from gen3dexport.reports.records import Measured
from gen3dexport.search import sampler_search
from gen3dexport.search.candidates import Goal
from gen3dexport.search.held_out import held_out
from gen3dexport.search.joint import _front, _joined
from gen3dexport.search.page import tune_html
from gen3dexport.search.records import Built, HeldOut, Samplers, SamplerTried
from gen3dexport.search.sampler_knobs import samplers, settable, text, under
from gen3dexport.search.sampler_moves import Moves, Recorded
from gen3dexport.search.sampler_search import Point, SamplerSearch
from gen3dexport.search.step_lists import branch_differences, kept_times, nearest_reuse, reuse_sets
from gen3dexport.search.trials import Choice, Trials
from gen3dexport.search.tune import cells, head
from gen3dexport.search.tuned_recipe import tuned_recipe

Cli = Callable[..., tuple[int, str, str]]


def _plan(recipe: Path, *assignments: str) -> Plan:
    target = read_target("eager")
    return make_plan(read_recipe(str(recipe), target, assignments), target)


# Which families have samplers


def _with_steps(model: type[BaseModel]) -> set[str]:
    """Dotted paths of the records below a family's knobs that have a number of steps."""
    found = {""} if "steps" in model.model_fields else set()
    for name, field in model.model_fields.items():
        for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                found |= {f"{name}.{path}".rstrip(".") for path in _with_steps(inner)}
    return found


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny recipes of the families whose knobs have a number of steps."""
    wanted = {name for name in models.names() if _with_steps(models.find(name).Knobs)}
    made = {path.stem: path for path in tiny_recipes.write(tmp_path_factory.mktemp("tiny"))}
    return {name: made[name] for name in wanted & {*made}}


def test_every_family_with_a_number_of_steps_says_what_its_sampler_calls(tiny: Mapping[str, Path]) -> None:
    assert {"trellis", "triposg", "hunyuan3d_2", "point_e", "shap_e"} <= {*tiny}
    for family, recipe in tiny.items():
        plan = _plan(recipe)
        found = samplers(plan)
        known = _with_steps(models.find(family).Knobs)
        there = {own.path for own in found.values()}
        assert there and there <= known, family
        for name, own in found.items():
            fewer = under(plan, {text_path(own.path, "steps"): own.steps - 1})
            assert fewer is not None, (family, name)
            sampler = fewer.declared[name].sampler
            assert sampler is not None and sampler.calls < own.calls and sampler.steps == own.steps - 1
            unguided = under(plan, {text_path(own.path, knob): value for knob, value in own.unguided.items()})
            assert unguided is not None, (family, name)
            sampler = unguided.declared[name].sampler
            assert sampler is not None and sampler.calls <= own.calls and sampler.steps == own.steps


def text_path(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


@pytest.mark.parametrize("family", ["trellis", "triposg", "hunyuan3d_2", "point_e", "shap_e"])
def test_calls_are_those_that_a_run_makes(tiny: Mapping[str, Path], family: str) -> None:
    plan = _plan(tiny[family])
    observed = Trials(plan).observations
    assert {n: own.calls for n, own in samplers(plan).items()} == {n: observed[n].count for n in samplers(plan)}


# Static lists of steps


SCHEDULE = Schedule(8, 2.0, (0.0, 1.0), 1.0)


def _straight_then_curved(x: np.ndarray, t: float, conditional: bool) -> np.ndarray:
    """A velocity that turns in the last quarter of the way alone."""
    return np.full_like(x, 1.0 if t > 250 else 40 * (0.25 - t / 1000))


@pytest.mark.parametrize("order", [1, 2])
def test_kept_steps_are_those_where_the_trajectory_bends(order: int) -> None:
    schedule = replace(SCHEDULE, guidance_scale=0.0, order=order)
    latents = [np.zeros((1, 2))]
    sample(_straight_then_curved, latents[0], schedule, lambda step, x, clean: latents.append(x))
    times = kept_times([np.stack(latents)], schedule, 3)
    assert times == (1.0, 0.25, 0.125)
    assert kept_times([np.stack(latents)], schedule, 8) == schedule.times[:-1]
    assert kept_times([np.stack(latents)], schedule, 1) == (1.0,)


def test_guidance_is_reused_where_the_branches_stay_as_far_apart() -> None:
    apart = dict(zip(SCHEDULE.times[:-1], (1.0, 1.0, 3.0, 3.1, 6.0, 9.0, 9.2, 15.0), strict=True))
    sets = reuse_sets({t: np.full(4, d) for t, d in apart.items()}, SCHEDULE)
    assert sets[:3] == [(1,), (1, 3), (1, 3, 6)]
    assert sets[-1] == tuple(range(1, 8)) and len(sets) == 7
    assert reuse_sets({}, SCHEDULE) == [] == reuse_sets({1.0: np.ones(1)}, replace(SCHEDULE, guidance_scale=0.0))
    for reused in sets:
        assert replace(SCHEDULE, reuse_guidance=reused).calls == 16 - len(reused)


def test_reused_guidance_stays_at_its_times() -> None:
    before = replace(SCHEDULE, reuse_guidance=(4, 5, 6, 7))
    assert nearest_reuse(before, replace(SCHEDULE, steps=4)) == (2, 3)
    assert nearest_reuse(SCHEDULE, replace(SCHEDULE, steps=4)) == ()


def test_branches_are_told_apart_in_a_run(tiny_recipe: Path) -> None:
    trials = Trials(_plan(tiny_recipe))
    declared, seen = trials.plan.declared["flow"], trials.observations["flow"]
    found = branch_differences(seen.component, declared, trials.before["flow"][0])
    schedule = trials.plan.settings.schedule
    assert list(found) == [t for t in schedule.times[:-1] if schedule.guided(t)]
    assert all(value.shape == (1, *trials.plan.settings.latent) and value.any() for value in found.values())


# Moves


def test_knobs_are_those_of_the_family(tiny: Mapping[str, Path]) -> None:
    plan = _plan(tiny["trellis"])
    own = samplers(plan)["flow"]
    assert settable(plan, own) == {"steps", "rescale_t", "step_times", "order", "reuse_guidance", "guidance_interval"}
    other = _plan(tiny["triposg"])
    assert settable(other, samplers(other)["flow"]) == {"steps", "rescale_t"}
    walk = _plan(tiny["shap_e"])
    assert settable(walk, samplers(walk)["prior"]) == {"steps"}
    assert under(plan, {"sampler.steps": 0}) is None
    assert under(plan, {"sampler.reuse_guidance": [0]}) is None
    changed = under(plan, {"sampler.steps": 3, "sampler.order": 2})
    assert changed is not None and (changed.settings.steps, changed.settings.order) == (3, 2)
    assert text({"sampler.steps": None, "sampler.step_times": (1.0, 0.25)}) == "sampler.step_times=[1,0.25]"


def test_moves_call_less_and_the_family_takes_them(tiny_recipe: Path) -> None:
    plan = _plan(tiny_recipe, "knobs.sampler.guidance_interval=[0.2,1.0]")
    trials = Trials(plan)
    seen = trials.observations["flow"]
    differences = branch_differences(seen.component, plan.declared["flow"], trials.before["flow"][0])
    moves = Moves(plan, "flow", Recorded(samplers(plan)["flow"], seen.trajectories, differences))
    own = samplers(plan)["flow"].calls
    fewer = list(moves.fewer_steps({}, 3))
    assert fewer[:3] == [
        {"sampler.steps": 3},
        {"sampler.steps": 3, "sampler.rescale_t": 1.5},
        {"sampler.steps": 3, "sampler.rescale_t": 6.0},
    ]
    assert len(fewer[3]["sampler.step_times"]) == 3 and fewer[3]["sampler.steps"] is None
    assert list(moves.other_order(fewer[0])) == [{"sampler.steps": 3, "sampler.order": 2}]
    reused = {"sampler.reuse_guidance": (1, 2)}
    (even, *_) = moves.fewer_steps(reused, 2)
    assert even == {"sampler.steps": 2, "sampler.reuse_guidance": (1,)}
    settings = [*fewer, even]
    for kind in ("reuse", "late", "early", "unguided"):
        found = list(moves.less_guidance({}, kind))  # type: ignore[arg-type]
        assert found, kind
        settings += found
    for knobs in settings:
        changed = under(plan, knobs)
        assert changed is not None
        sampler = changed.declared["flow"].sampler
        assert sampler is not None and sampler.calls < own, knobs
    assert next(iter(moves.fewer_steps(fewer[3], 2))) == {"sampler.steps": 2}


def test_given_times_give_way_to_a_number_of_steps(tiny_recipe: Path) -> None:
    plan = _plan(tiny_recipe, "knobs.sampler.step_times=[1.0,0.7,0.3]")
    moves = Moves(plan, "flow", Recorded(samplers(plan)["flow"]))
    assert next(iter(moves.fewer_steps({}, 2))) == {"sampler.steps": 2, "sampler.step_times": None}


# The search


class Planted:
    """Trials whose loss is planted: so much for each step less and for each reused step."""

    def __init__(self, plan: Plan, per_step: float, per_reuse: float) -> None:
        self.plan, self.per_step, self.per_reuse = plan, per_step, per_reuse
        own = samplers(plan)["flow"]
        counts = {name: SimpleNamespace(count=1, trajectories=(), component=None) for name in plan.schemes}
        self.observations = {**counts, "flow": SimpleNamespace(count=own.calls, trajectories=(), component=None)}
        self.before = dict.fromkeys(plan.schemes, (None,))

    def under(self, plan: Plan) -> Planted:
        made = Planted(plan, self.per_step, self.per_reuse)
        made.steps = 4 - plan.settings.steps  # type: ignore[attr-defined]
        return made

    def loss(self, choices: Mapping[str, Choice]) -> float:
        settings = self.plan.settings
        bent = 0.0 if settings.rescale_t == 3.0 and settings.order == 1 else 0.0005
        off = 1.0 if settings.guidance_interval != (0.0, 1.0) or settings.guidance_scale != 2.0 else 0.0
        steps: float = (4 - settings.steps) * self.per_step + len(settings.reuse_guidance) * self.per_reuse
        return steps + bent + off + sum(0.01 for choice in choices.values() if choice.scheme == "bf16")

    def held_out(self, choices: Mapping[str, Choice]) -> float | None:
        return self.loss(choices)


@pytest.fixture
def planted(tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float], Any]:
    differences = {t: np.full(2, d) for t, d in zip((1.0, 0.9, 0.75, 0.5), (1.0, 1.1, 3.0, 3.2), strict=True)}
    monkeypatch.setattr(sampler_search, "branch_differences", lambda *_: differences)
    plan = _plan(tiny_recipe, "knobs.sampler.guidance_interval=[0.0,1.0]")
    return lambda per_step, per_reuse: Planted(plan, per_step, per_reuse)


def _search(trials: Any, max_loss: float) -> tuple[SamplerSearch, list[Point]]:
    search = SamplerSearch(trials, dict.fromkeys(trials.plan.schemes, 1.0), max_loss, lambda component, stage: None)
    return search, _front(search.run(), max_loss, lambda point: None)


def test_the_search_goes_as_far_as_the_loss_allows(planted: Callable[[float, float], Any]) -> None:
    search, front = _search(planted(0.004, 0.001), 0.0075)
    assert front[-1].knobs == {} and front[-1].loss == 0
    assert [p.cost for p in front] == sorted(p.cost for p in front)
    assert [p.loss for p in front] == sorted((p.loss for p in front), reverse=True)
    best = front[0].plan.settings
    assert (best.steps, len(best.reuse_guidance)) == (3, 2)  # 0.004 + 2 x 0.001; a step or more reuse is too much
    assert front[0].loss == pytest.approx(0.006) and front[0].calls["flow"] == 4
    assert len({repr(sorted(p.knobs.items())) for p in search.points}) == len(search.points) <= sampler_search.MOST + 1


def test_what_loses_too_much_on_held_out_prompts_gives_way_to_the_next(planted: Callable[[float, float], Any]) -> None:
    own = planted(0.004, 0.001).plan
    points = [Point({"steps": k}, own, {}, k, loss) for k, loss in ((1, 0.007), (2, 0.008), (3, 0.006), (4, 0.001))]
    asked: list[int] = []

    def on_held_out(point: Point) -> float:
        asked.append(point.knobs["steps"])
        return {1: 0.02, 2: 0.005, 3: 0.009, 4: 0.002}[point.knobs["steps"]]

    assert [p.knobs["steps"] for p in _front(points, 0.01, on_held_out)] == [2, 4] and asked == [1, 2, 3, 4]
    asked.clear()
    assert [p.cost for p in _front([points[0], points[1]], 0.03, on_held_out)] == [1, 2]
    assert [p.cost for p in _front(points[2:] + points[:1], 0.01, on_held_out)] == [3, 4] and asked == [1, 2, 3, 4]


def test_where_nothing_keeps_the_loss_the_recipe_stays(planted: Callable[[float, float], Any]) -> None:
    search, front = _search(planted(0.1, 0.1), 0.01)
    assert [p.knobs for p in front] == [{}] and len(search.points) > 5


def test_settings_that_are_tried_are_bounded(
    planted: Callable[[float, float], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler_search, "MOST", 7)
    search, _ = _search(planted(0.0, 0.0), 0.01)
    assert len(search.points) == 8


# With schemes


def _base(name: str, loss: float, flow_ms: float) -> Built:
    calls, ms = {"flow": 8, "decoder": 1}, {"flow": Measured(value=flow_ms), "decoder": Measured(value=1.0)}
    choices = {} if name == "fp32" else {"flow": ComponentChoice(scheme=name)}
    found = Measured(value=8 * flow_ms + 1)
    fields = {"name": name, "uniform": True, "choices": choices, "megabytes": 1, "loss": loss, "held_out": loss}
    return Built(**fields, found=found, calls=calls, per_call=ms)


def test_pairs_are_built_from_the_fastest_until_one_keeps_the_loss(planted: Callable[[float, float], Any]) -> None:
    trials = planted(0.004, 0.001)
    _, front = _search(trials, 0.0099)
    told: list[str] = []

    def built(pair: Any) -> Built:
        told.append(pair.name)
        late = 0.02 if len(told) == 1 else pair.held_out  # the first loses more once it is built
        return Built(**{**dict(pair), "held_out": late, "loss_of": "built programs"}, found=Measured(value=1.0))

    bases = [_base("fp32", 0.0, 4.0), _base("bf16", 0.009, 2.0)]
    goal = Goal("latency", 0.0099, held_out=HeldOut(prompts=("a",), source="here"))
    settings = [p for p in front if p.knobs]
    tried, made = _joined(trials, settings, bases, 30.0, goal, built, lambda component, stage: None)
    assert tried[0].name.startswith("bf16, ") and not goal.allows(tried[0])  # the fastest loses too much
    assert [c.name for c in made] == told and len(told) == 2
    assert not goal.allows(made[0]) and goal.allows(made[1]) and made[1].name.startswith("fp32, ")
    assert all(len(p.choices) == p.name.startswith("bf16") for p in tried)
    none = Goal("latency", 0.0099, candidates=1)
    assert len(_joined(trials, settings, bases, 30.0, none, built, lambda component, stage: None)[1]) == 1
    assert _joined(trials, settings, bases, 0.5, goal, built, lambda component, stage: None) == ([], [])


def test_trials_under_other_settings_are_against_the_recipes_own_assets(tiny_recipe: Path) -> None:
    own = Trials(_plan(tiny_recipe), held_out=("third",))
    assert (own.loss({}), own.held_out({})) == (0.0, 0.0)
    changed = under(own.plan, {"sampler.steps": 2})
    assert changed is not None
    other = own.under(changed)
    lost = other.loss({})
    assert 0 < lost < math.inf and other.observations["flow"].count < own.observations["flow"].count
    alone = Trials(changed)
    assert alone.assets is not None and other.assets is not None
    for a, b in zip(alone.assets, other.assets, strict=True):  # what a run of these settings alone makes
        assert np.array_equal(a["voxels"].occupancy, b["voxels"].occupancy)
    held = other.held_out({})
    assert held is not None and held > 0
    assert own.losses([*other.assets, own_third(changed)]) == (pytest.approx(lost), pytest.approx(held))
    quantized = {"flow": Choice("bf16")}
    assert other.loss(quantized) != own.loss(quantized)
    assert own.under(own.plan).loss({}) == 0.0
    assert Trials(own.plan).held_out({}) is None


def own_third(plan: Plan) -> Any:
    golden = plan.recipe.golden
    recipe = plan.recipe.model_copy(update={"golden": golden.model_copy(update={"prompts": ("third",), "seed": 2})})
    made = Trials(replace(plan, recipe=recipe)).assets
    assert made is not None
    return made[0]


# Prompts held out


def test_prompts_of_a_file(tiny_recipe: Path, tmp_path: Path) -> None:
    plan, path = _plan(tiny_recipe), tmp_path / "held.txt"
    path.write_text("a cup\n\n  a boat \n")
    assert held_out(plan, path) == HeldOut(prompts=("a cup", "a boat"), source=str(path))
    for text_, said in {
        "": "no prompt in it; write one a line",
        "a cup\nfirst\n": f"{path}:2: 'first' is a golden prompt, which the search sees",
        "a cup\na boat\na cup\n": f"{path}:3: 'a cup' stands in line 1, too",
    }.items():
        path.write_text(text_)
        with pytest.raises(UsageError, match=said.replace("(", r"\(")):
            held_out(plan, path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        held_out(plan, path)
    with pytest.raises(UsageError, match="cannot be read"):
        held_out(plan, tmp_path / "none.txt")


def test_prompts_where_no_file_is_named(tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = replace(_plan(tiny_recipe), weights=tmp_path)
    assert held_out(plan, None).prompts == () and held_out(plan, None).source.startswith("none: ")
    tiny_recipe.write_text(tiny_recipe.read_text() + "calibration: {prompts: [first, third, third]}\n")
    plan = replace(_plan(tiny_recipe), weights=tmp_path)
    assert held_out(plan, None).prompts == ()  # this target calibrates: trials see them
    path = tmp_path / "held.txt"
    path.write_text("\ufeffthird\n", encoding="utf-8")
    with pytest.raises(UsageError, match=f"{path}:1: 'third' is a calibration prompt, which the search sees"):
        held_out(plan, path)
    monkeypatch.setattr(eager, "SCHEMES", {"fp32": ""})
    assert held_out(plan, path).prompts == ("third",)
    source = "the recipe's calibration prompts, unused on this target"
    assert held_out(plan, None) == HeldOut(prompts=("third",), source=source)
    (tmp_path / "heldout.json").write_text(json.dumps({"items": [{"caption": c} for c in ("second", "a", "b", "a")]}))
    assert held_out(plan, None).prompts == ("a", "b") and "heldout.json" in held_out(plan, None).source
    for damaged in ("[", "[]", '{"items": [3]}'):
        (tmp_path / "heldout.json").write_text(damaged)
        assert held_out(plan, None).prompts == ("third",)


# What is written


KNOBS = {"sampler.steps": None, "sampler.rescale_t": None, "sampler.step_times": (1.0, 0.5), "sampler.order": 2}
SAMPLED = RESULT.model_copy(
    update={
        "minimize": "latency",
        "unit": "ms",
        "candidates": (
            RESULT.candidates[0].model_copy(update={"held_out": 0.0}),
            RESULT.candidates[1].model_copy(update={"knobs": KNOBS, "held_out": 0.002, "calls": {"flow": 3}}),
        ),
        "held_out": HeldOut(prompts=("a cup", "a <b>"), source="file.txt"),
        "samplers": Samplers(
            cost_of="calls × ms of one call of fp32's programs (measured)",
            rows=(
                SamplerTried(name="the recipe's own", knobs={}, calls={"flow": 7}, cost=7, loss=0),
                SamplerTried(name=text(KNOBS), knobs=KNOBS, calls={"flow": 3}, cost=3, loss=0.001, held_out=0.002),
                SamplerTried(name="sampler.steps=1", knobs={"sampler.steps": 1}, calls={}, cost=1, loss=math.inf),
            ),
            joint=(RESULT.tried[1],),
        ),
    }
)


def test_the_recipe_has_the_knobs_and_the_evidence(tiny_recipe: Path, tmp_path: Path) -> None:
    tiny_recipe.write_text(tiny_recipe.read_text() + "knobs: {sampler: {steps: 4, rescale_t: 2.0}}\n")
    written = tuned_recipe(str(tiny_recipe), [], SAMPLED, ["flow", "decoder"])
    (path := tmp_path / "tuned.yaml").write_text(written)
    assert "# Samplers: sampler.step_times=[1,0.5] sampler.order=2; calls: flow 7 -> 3 (2 other settings" in written
    assert "# Held out: loss 0.0020 (built programs) on 2 prompts (file.txt)." in written
    sampler = read_recipe(str(path), read_target("eager")).knobs.sampler
    assert (sampler.steps, sampler.rescale_t, sampler.step_times, sampler.order) == (None, None, (1.0, 0.5), 2)
    assert read_recipe(str(path), read_target("onnx")).knobs.sampler.steps == 4
    settings = _plan(path).settings
    assert settings.steps == 2 and settings.schedule.times == (1.0, 0.5, 0.0)
    nowhere = SAMPLED.model_copy(update={"held_out": HeldOut(prompts=(), source="none: no file"), "chosen": "fp32"})
    written = tuned_recipe(str(tiny_recipe), [], nowhere, ["flow", "decoder"])
    assert "# Held out: none: no file." in written and "# Samplers: as the recipe has them (2 other" in written


def test_the_page_and_the_rows_have_what_was_tried() -> None:
    rows = [cells(c, SAMPLED) for c in SAMPLED.candidates]
    assert "#loss held out" in head(SAMPLED) and rows[1][5] == "0.0020"
    page = tune_html(SAMPLED, head(SAMPLED), rows, "name: tuned")
    assert 'id="plot-samplers"' in page and "sampler.step_times=[1,0.5] sampler.order=2" in page
    assert (
        "the recipe's own" in page
        and "<td>flow 3</td>" in page
        and "0.0020" in page
        and "a &lt;b&gt;" in page
        and "inf" in page
    )
    assert type(SAMPLED).model_validate_json(SAMPLED.model_dump_json(by_alias=True)).samplers is not None


OPEN = ("budgets.relative_l2=1", "budgets.relative_l2_fp32=1", "budgets.scores.voxels.iou=0.1")


def test_the_command(
    tiny_recipe: Path, fast_target: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eager, "SCHEMES", {"fp32": ""})
    monkeypatch.setattr(sampler_search, "MOST", 4)
    (held := tmp_path / "held.txt").write_text("third\n")
    out = tmp_path / "tuned.yaml"
    options = ("--minimize", "latency", "--max-loss", "0.6", "--candidates", "2", "-o", out, "--json")
    code, said, error = cli("tune", tiny_recipe, "-t", fast_target, "--held-out", held, *options)
    assert code == 0, error
    result = json.loads(said)
    by = {c["name"]: c for c in result["candidates"]}
    sampled = [c for c in result["candidates"] if c["knobs"]]
    assert sampled and result["held_out"]["prompts"] == ["third"]
    own, *others = result["samplers"]["rows"]
    assert own["knobs"] == {} and own["calls"] == by["fp32"]["calls"] and len(others) == 4
    for candidate in result["candidates"]:
        assert candidate["loss_of"] == "built programs" and candidate["held_out"] is not None
    for candidate in sampled:  # of fewer calls, against the assets of the recipe's own settings
        assert candidate["calls"]["flow"] < own["calls"]["flow"] and candidate["loss"] > 0
        eager_one = next(c for c in result["samplers"]["joint"] if c["name"] == candidate["name"])
        assert candidate["loss"] == pytest.approx(eager_one["loss"], abs=1e-6)
        assert candidate["held_out"] == pytest.approx(eager_one["held_out"], abs=1e-6)
    fit = [c for c in result["candidates"] if max(c["loss"], c["held_out"]) <= 0.6]
    assert by[result["chosen"]] == min(fit, key=lambda c: c["found"]["value"])
    assert 'id="plot-samplers"' in out.with_suffix(".html").read_text()
    code, said, error = cli("build", out, *OPEN, "-t", fast_target, "-o", tmp_path / "b", "--json")
    assert code == 0, error
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    assert manifest["calls"] == by[result["chosen"]]["calls"]


def test_schemes_alone(
    tiny_recipe: Path, fast_target: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eager, "SCHEMES", {"fp32": ""})
    out = tmp_path / "tuned.yaml"
    options = ("--minimize", "latency", "--schemes-only", "-o", out, "--json")
    code, said, error = cli("tune", tiny_recipe, "-t", fast_target, *options)
    assert code == 0, error
    result = json.loads(said)
    assert result["samplers"] is None and result["held_out"] is None and result["chosen"] == "fp32"
    assert "Samplers" not in out.read_text() and "Held out" not in out.read_text()


def test_a_folder_that_is_not_there_is_told_before_anything_is_tried(tmp_path: Path, cli: Cli) -> None:
    code, _, error = cli("tune", "trellis-mini", "-t", "eager", "-o", tmp_path / "none" / "mine.yaml")
    assert code == 2 and f"there is no folder {tmp_path / 'none'}" in error


def test_a_file_of_prompts_is_told_before_anything_is_tried(tiny_recipe: Path, tmp_path: Path, cli: Cli) -> None:
    code, _, error = cli("tune", tiny_recipe, "-t", "eager", "--held-out", tmp_path / "none.txt")
    assert code == 2 and "--held-out" in error and "cannot be read" in error
