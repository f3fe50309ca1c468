"""Tune: a mixed-precision search. Greedy over the layers' sensitivities on the eager model, then built and measured.

Layers join the quantized ones in the order of what they cost per byte saved (per multiplication for latency), as long
as the asset's loss, measured anew at each step, stays within the allowed one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gen3dexport.build import build
from gen3dexport.documents.budgets import Budgets
from gen3dexport.documents.recipe import ComponentChoice
from gen3dexport.errors import UnmeasuredError, UsageError
from gen3dexport.plan import Plan
from gen3dexport.reports.report import Report, make_report, number
from gen3dexport.search.sensitivity import sensitivity
from gen3dexport.search.trials import Choice, Trials
from gen3dexport.validation.validate import measure_in_child

UNITS = {"size": "MB", "latency": "ms", "memory": "MB"}
Choices = Mapping[str, Choice]
OnStage = Callable[[str, str], None]


@dataclass(frozen=True)
class Goal:
    """What to minimize (`size`, `latency` or `memory`), the largest loss allowed, and the most mixtures to build.

    Loss is 1 - mean IoU of the golden prompts' assets against the float32 ones.
    """

    minimize: str = "size"
    max_loss: float = 0.01
    candidates: int = 5


def tune(plan: Plan, goal: Goal, on_stage: OnStage = lambda component, stage: None) -> dict[str, Any]:
    """The search's evidence; `chosen` is the best candidate within the allowed loss, which may be a uniform one.

    Raises:
        UsageError: for an unknown quantity, or a recipe that makes no assets.
        UnmeasuredError: when the quantity can be neither measured nor estimated here.
    """
    if goal.minimize not in UNITS:
        raise UsageError(f"--minimize {goal.minimize}: unknown; there are {', '.join(UNITS)}")
    trials = Trials(plan, on_stage)
    found = sensitivity(trials, on_trial=on_stage)
    tried = [_trial(trials, name, choices, True) for name, choices in _uniform(trials).items()]
    if plan.modules:  # a mixture already: judged with the others, no uniform scheme to beat
        tried.append(_trial(trials, "recipe", _own(plan, rules=True), False))
    path = []
    for k, (choices, loss) in enumerate(_greedy(trials, found["rows"], goal, on_stage), 1):
        path.append(_trial(trials, f"mixed {k}", choices, False, loss))

    def built(point: dict[str, Any]) -> dict[str, Any]:
        on_stage(point["name"], "build")
        return {**point, **_measured(plan, _choices(point), goal.minimize)}

    candidates = [built(point) for point in tried if point["loss"] <= goal.max_loss]
    candidates += _furthest(path, goal, built)
    chosen = _best(candidates, goal)
    uniform = _best([c for c in candidates if c["uniform"]], goal)
    chosen["chosen"] = True
    return {
        "schema": 1,
        "recipe": plan.recipe.name,
        "target": plan.target.name,
        "backend": plan.target.backend,
        "minimize": goal.minimize,
        "unit": UNITS[goal.minimize],
        "max_loss": goal.max_loss,
        "chosen": chosen["name"],
        "best_uniform": uniform["name"],
        "gain": 1 - chosen["value"] / uniform["value"],
        "candidates": candidates,
        "tried": tried + path,
        "sensitivity": found,
    }


def _uniform(trials: Trials) -> dict[str, dict[str, Choice]]:
    """Every component in one scheme, where it has that form, for each scheme of the target; and as the recipe says."""
    plan = trials.plan
    found: dict[str, dict[str, Choice]] = {"fp32": {}}
    for scheme in plan.backend.SCHEMES:
        choices = {}
        for name in plan.schemes:
            try:
                trials.quantized(name, Choice(scheme))
            except UsageError:  # this component has no such form: it stays in float32
                continue
            choices[name] = Choice(scheme)
        if choices:
            found[f"uniform {scheme}"] = choices
    found.pop("uniform fp32", None)
    recipe = _own(plan, rules=False)
    return found if recipe in found.values() else {**found, "recipe's schemes": recipe}


def _own(plan: Plan, rules: bool) -> dict[str, Choice]:
    """The recipe's own choices, with or without its rules inside components."""
    own = {n: Choice(s, tuple(plan.modules.get(n, {}).items()) if rules else ()) for n, s in plan.schemes.items()}
    return {name: choice for name, choice in own.items() if choice != Choice()}


def _furthest(
    path: Sequence[dict[str, Any]], goal: Goal, built: Callable[[dict[str, Any]], dict[str, Any]]
) -> list[dict[str, Any]]:
    """The built points in search of the furthest along `path` that keeps within the allowed loss once it is built.

    Programs lose a little more or less than the eager model. The end of the path is built first; where it loses too
    much, what is left of the path is halved, as often as the goal has candidates.
    """
    found: list[dict[str, Any]] = []
    good, bad, next_ = -1, len(path), len(path) - 1
    while good < next_ < bad and len(found) < goal.candidates:
        found.append(built(path[next_]))
        good, bad = (next_, bad) if found[-1]["loss"] <= goal.max_loss else (good, next_)
        next_ = (good + bad) // 2
    return found


def _greedy(
    trials: Trials, rows: Sequence[Mapping[str, Any]], goal: Goal, on_stage: OnStage
) -> list[tuple[Choices, float]]:
    """Growing sets of quantized layers, each within the allowed loss, and what they lose."""
    taken: dict[str, dict[str, str]] = {}
    saved: dict[tuple[str, str], int] = {}
    path: list[tuple[Choices, float]] = []
    usable = [row for row in rows if row["reason"] is None and row["saved_bytes"] > 0 and row["loss"] <= goal.max_loss]
    for row in sorted(usable, key=lambda r: _cost(trials, r, goal.minimize)):
        name, pattern = row["component"], row["pattern"]
        if saved.get((name, pattern), 0) >= row["saved_bytes"]:
            continue
        rules = {**taken.get(name, {}), pattern: row["scheme"]}
        choices = {other: Choice(modules=tuple(own.items())) for other, own in {**taken, name: rules}.items()}
        on_stage(name, f"try {pattern} {row['scheme']}")
        if (loss := trials.loss(choices)) <= goal.max_loss:
            taken[name], saved[name, pattern] = rules, row["saved_bytes"]
            path.append((choices, loss))
    return path


def _cost(trials: Trials, row: Mapping[str, Any], minimize: str) -> float:
    """Loss per byte saved, or per multiplication where time counts; noise decides between equal losses."""
    calls = trials.recordings[row["component"]].count
    gain = row["parameters"] * calls if minimize == "latency" else row["saved_bytes"]
    return float((row["loss"] + 10 ** (-row["snr_db"] / 10)) / gain)


def _trial(trials: Trials, name: str, choices: Choices, uniform: bool, loss: float | None = None) -> dict[str, Any]:
    size = sum(trials.bytes(c, choices.get(c, Choice())) for c in trials.plan.schemes)
    named = {c: {"scheme": choice.scheme, "modules": dict(choice.modules)} for c, choice in choices.items()}
    facts = {"name": name, "uniform": uniform, "chosen": False, "choices": named}
    loss = trials.loss(choices) if loss is None else loss
    return {**facts, "megabytes": size / 1e6, "loss": loss, "loss_of": "eager model"}


def _choices(point: Mapping[str, Any]) -> dict[str, Choice]:
    return {c: Choice(own["scheme"], tuple(own["modules"].items())) for c, own in point["choices"].items()}


def with_choices(plan: Plan, choices: Choices) -> Plan:
    """The plan of a candidate: its schemes and rules, and no budgets."""
    full = {name: choices.get(name, Choice()) for name in plan.schemes}
    components = {n: ComponentChoice(scheme=c.scheme, modules=dict(c.modules)) for n, c in full.items()}
    recipe = plan.recipe.model_copy(update={"components": components, "budgets": Budgets()})
    own = replace(plan, recipe=recipe, target=plan.target.model_copy(update={"budgets": Budgets()}))
    return own.with_schemes({n: c.scheme for n, c in full.items()}, {n: dict(c.modules) for n, c in full.items()})


def _measured(plan: Plan, choices: Choices, minimize: str) -> dict[str, Any]:
    """Build a candidate and measure it from disk: the quantity, and the loss where the target's device is here."""
    with tempfile.TemporaryDirectory(prefix="gen3dexport-") as scratch:
        folder = Path(scratch) / "candidate"
        manifest = build(with_choices(plan, choices), folder)
        measured, _ = measure_in_child(folder, manifest)
        report = make_report(manifest, "candidate", measured, {}, "")
    facts = {**quantity(report, manifest.calls, minimize), "megabytes": report["size_bytes"] / 1e6}
    quality = report["pipeline"]["quality"]
    if not quality:
        return facts
    return {**facts, "loss": 1 - sum(float(q["iou"]) for q in quality) / len(quality), "loss_of": "built programs"}


def quantity(report: Report, calls: Mapping[str, int], minimize: str) -> dict[str, Any]:
    """{"value", "kind", "by"} of size (MB), latency (ms of all network calls of one asset) or peak memory (MB)."""
    networks = [c for c in report["components"] if c["kind"] == "component"]
    if minimize == "size":
        return {"value": report["size_bytes"] / 1e6, "kind": "measured", "by": None}
    facts = [c["latency" if minimize == "latency" else "peak_memory"] for c in networks]
    if all(f["kind"] == "measured" for f in facts):
        if minimize == "memory":
            return {"value": max(f["bytes"] for f in facts) / 1e6, "kind": "measured", "by": None}
        total = sum(calls[c["component"]] * float(f["p50_ms"]) for c, f in zip(networks, facts, strict=True))
        return {"value": total, "kind": "measured", "by": None}
    latency = report["pipeline"]["latency"]
    if minimize == "latency" and latency["kind"] == "estimated":
        worst = max(latency["estimates"], key=lambda e: float(e["value"]))
        return {"value": float(worst["value"]), "kind": "estimated", "by": worst["by"]}
    reason = next((f["reason"] for f in facts if f["kind"] == "unmeasured"), "not every program was measured")
    return {"value": None, "kind": "unmeasured", "by": reason}


def _best(candidates: Sequence[dict[str, Any]], goal: Goal) -> dict[str, Any]:
    kinds = {c["kind"] for c in candidates}
    if len(kinds) != 1 or "unmeasured" in kinds:
        why = next((c["by"] for c in candidates if c["kind"] == "unmeasured"), "some are measured, others estimated")
        raise UnmeasuredError(f"{goal.minimize} cannot be compared here: {why}; --minimize size always can")
    fit = [c for c in candidates if c["loss"] <= goal.max_loss]
    if not fit:
        raise UsageError(f"nothing stays within a loss of {goal.max_loss:g}, not even float32 programs; allow more")
    return min(fit, key=lambda c: float(c["value"]))


HEAD = ("candidate", "#value", "how", "#weights", "#loss", "~")


def cells(candidate: Mapping[str, Any], result: Mapping[str, Any]) -> tuple[str, ...]:
    """A candidate as people read it: name, quantity, how it is known, size, loss, remark."""
    how = candidate["kind"] + (f" by {candidate['by']}" if candidate["by"] else "")
    remark = "chosen" if candidate["chosen"] else "too much loss" if candidate["loss"] > result["max_loss"] else ""
    value = f"{number(candidate['value'], 4)} {result['unit']}"
    loss = f"{candidate['loss']:.4f} ({candidate['loss_of']})"
    return candidate["name"], value, how, f"{candidate['megabytes']:.4g} MB", loss, remark
