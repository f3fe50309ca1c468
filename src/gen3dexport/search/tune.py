"""Tune: a mixed-precision search. Greedy over the layers' sensitivities on the eager model, then built and measured.

Layers join the quantized ones in the order of what they cost per byte saved (per multiplication for latency), as long
as the asset's loss, measured anew at each step, stays within the allowed one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from gen3dexport.build import build
from gen3dexport.disk import scratch
from gen3dexport.documents.budgets import Budgets
from gen3dexport.documents.recipe import ComponentChoice
from gen3dexport.errors import UnmeasuredError, UsageError
from gen3dexport.plan import Plan
from gen3dexport.reports.judge import largest_peak, number_of
from gen3dexport.reports.records import Estimated, Measured, MeasuredTimes, Report, Unmeasured, Value
from gen3dexport.reports.report import make_report
from gen3dexport.reports.text import basis_text, number
from gen3dexport.search.records import Built, Layer, Tried, Tuned
from gen3dexport.search.sensitivity import sensitivity
from gen3dexport.search.trials import Choice, Trials
from gen3dexport.validation.validate import measure_in_child

UNITS = {"size": "MB", "latency": "ms", "memory": "MB"}
Choices = Mapping[str, Choice]
OnStage = Callable[[str, str], None]


@dataclass(frozen=True)
class Goal:
    """What to minimize (`size`, `latency` or `memory`), the largest loss allowed, and the most mixtures to build.

    Loss is the mean over the golden prompts of what their assets lose against the float32 ones (`assets.score.loss`).
    """

    minimize: str = "size"
    max_loss: float = 0.01
    candidates: int = 5


def tune(plan: Plan, goal: Goal, on_stage: OnStage = lambda component, stage: None) -> Tuned:
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
    if plan.rules:  # a mixture already: judged with the others, no uniform scheme to beat
        tried.append(_trial(trials, "recipe", _own(plan, rules=True), False))
    path = []
    for k, (choices, loss) in enumerate(_greedy(trials, found.rows, goal, on_stage), 1):
        path.append(_trial(trials, f"mixed {k}", choices, False, loss))

    def built(point: Tried) -> Built:
        on_stage(point.name, "build")
        return _built(plan, point, goal.minimize)

    candidates = [built(point) for point in tried if point.loss <= goal.max_loss]
    candidates += _furthest(path, goal, built)
    (chosen, value), (uniform, other) = (
        best(some, goal) for some in (candidates, [c for c in candidates if c.uniform])
    )
    return Tuned(
        recipe=plan.recipe.name,
        target=plan.target.name,
        backend=plan.target.backend,
        minimize=goal.minimize,
        unit=UNITS[goal.minimize],
        max_loss=goal.max_loss,
        chosen=chosen.name,
        best_uniform=uniform.name,
        gain=1 - value / other,
        candidates=tuple(candidates),
        tried=(*tried, *path),
        sensitivity=found,
    )


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
    own = {n: Choice(s, tuple(plan.rules.get(n, {}).items()) if rules else ()) for n, s in plan.schemes.items()}
    return {name: choice for name, choice in own.items() if choice != Choice()}


def _furthest(path: Sequence[Tried], goal: Goal, built: Callable[[Tried], Built]) -> list[Built]:
    """The built points in search of the furthest along `path` that keeps within the allowed loss once it is built.

    Programs lose a little more or less than the eager model. The end of the path is built first; where it loses too
    much, what is left of the path is halved, as often as the goal has candidates.
    """
    found: list[Built] = []
    good, bad, next_ = -1, len(path), len(path) - 1
    while good < next_ < bad and len(found) < goal.candidates:
        found.append(built(path[next_]))
        good, bad = (next_, bad) if found[-1].loss <= goal.max_loss else (good, next_)
        next_ = (good + bad) // 2
    return found


def _greedy(trials: Trials, rows: Sequence[Layer], goal: Goal, on_stage: OnStage) -> list[tuple[Choices, float]]:
    """Growing sets of quantized layers, each within the allowed loss, and what they lose."""
    taken: dict[str, dict[str, str]] = {}
    saved: dict[tuple[str, str], int] = {}
    path: list[tuple[Choices, float]] = []
    costs = [
        (_cost(trials, row, row.loss, row.snr_db, row.saved_bytes, goal.minimize), row, row.saved_bytes)
        for row in rows
        if row.loss is not None and row.snr_db is not None and row.saved_bytes and row.loss <= goal.max_loss
    ]
    for _, row, gain in sorted((c for c in costs if c[2] > 0), key=lambda c: c[0]):
        name, pattern = row.component, row.pattern
        if saved.get((name, pattern), 0) >= gain:
            continue
        rules = {**taken.get(name, {}), pattern: row.scheme}
        choices = {other: Choice(rules=tuple(own.items())) for other, own in {**taken, name: rules}.items()}
        on_stage(name, f"try {pattern} {row.scheme}")
        if (loss := trials.loss(choices)) <= goal.max_loss:
            taken[name], saved[name, pattern] = rules, gain
            path.append((choices, loss))
    return path


def _cost(trials: Trials, row: Layer, loss: float, snr_db: float, saved_bytes: int, minimize: str) -> float:
    """Loss per byte saved, or per multiplication where time counts; noise decides between equal losses."""
    calls = trials.observations[row.component].count
    gain = row.parameters * calls if minimize == "latency" else saved_bytes
    return (loss + 10 ** (-snr_db / 10)) / gain


def _trial(trials: Trials, name: str, choices: Choices, uniform: bool, loss: float | None = None) -> Tried:
    size = sum(trials.bytes(c, choices.get(c, Choice())) for c in trials.plan.schemes)
    return Tried(
        name=name,
        uniform=uniform,
        choices={c: _component_choice(choice) for c, choice in choices.items()},
        megabytes=size / 1e6,
        loss=trials.loss(choices) if loss is None else loss,
    )


def _component_choice(choice: Choice) -> ComponentChoice:
    return ComponentChoice(scheme=choice.scheme, rules=dict(choice.rules))


def with_choices(plan: Plan, choices: Mapping[str, ComponentChoice]) -> Plan:
    """The plan of a candidate: its schemes and rules, float32 where it has none, and no budgets."""
    full = {name: choices.get(name, ComponentChoice(scheme="fp32")) for name in plan.schemes}
    recipe = plan.recipe.model_copy(update={"components": full, "budgets": Budgets()})
    own = replace(plan, recipe=recipe, target=plan.target.model_copy(update={"budgets": Budgets()}))
    return own.with_schemes({n: c.scheme or "fp32" for n, c in full.items()}, {n: c.rules for n, c in full.items()})


def _built(plan: Plan, point: Tried, minimize: str) -> Built:
    """A candidate built and measured from disk: the quantity, and the loss where the target's device is here."""
    with scratch() as place:
        folder = place / "candidate"
        manifest = build(with_choices(plan, point.choices), folder)
        measured, _ = measure_in_child(folder, manifest)
        report = make_report(manifest, "candidate", measured, {}, "")
    fields = {**dict(point), "megabytes": report.size_bytes / 1e6}
    if losses := [q.loss for q in report.pipeline.quality]:
        fields |= {"loss": sum(losses) / len(losses), "loss_of": "built programs"}
    return Built(**fields, found=quantity(report, manifest.calls, minimize))


def quantity(report: Report, calls: Mapping[str, int], minimize: str) -> Value:
    """Size (MB), latency (ms of all network calls of one asset) or peak memory (MB) of a bundle."""
    networks = report.networks
    if minimize == "size":
        return Measured(value=report.size_bytes / 1e6)
    if minimize == "memory":
        return largest_peak(networks)
    times = [(calls[c.component], c.latency.p50_ms) for c in networks if isinstance(c.latency, MeasuredTimes)]
    if len(times) == len(networks):
        return Measured(value=sum(count * ms for count, ms in times))
    if isinstance(report.pipeline.latency, Estimated):
        return report.pipeline.latency
    unknown = (c.latency for c in networks if isinstance(c.latency, Unmeasured))
    return next(unknown, Unmeasured(reason="not every program was measured"))


def best(candidates: Sequence[Built], goal: Goal) -> tuple[Built, float]:
    """The candidate with the least quantity within the allowed loss, and that quantity.

    Raises:
        UnmeasuredError: when the quantities of all cannot be compared.
        UsageError: when none is within the loss.
    """
    unmeasured = next((c.found for c in candidates if isinstance(c.found, Unmeasured)), None)
    if unmeasured is not None or len({c.found.basis for c in candidates}) > 1:
        why = unmeasured.reason if unmeasured else "some are measured, others estimated"
        raise UnmeasuredError(f"{goal.minimize} cannot be compared here: {why}; --minimize size always can")
    fit = [(c, value) for c in candidates if c.loss <= goal.max_loss and (value := number_of(c.found)) is not None]
    if not fit:
        raise UsageError(f"nothing stays within a loss of {goal.max_loss:g}, not even float32 programs; allow more")
    return min(fit, key=lambda c: c[1])


def head(result: Tuned) -> tuple[str, ...]:
    """The columns of `cells`; a basis is that of the column before it."""
    return "candidate", f"#{result.minimize}, {result.unit}", "basis", "#weights, MB", "#loss", "loss of", "~"


def cells(candidate: Built, result: Tuned) -> tuple[str, ...]:
    """A candidate as people read it: name, quantity, how it is known, size, loss, remark."""
    chosen = candidate.name == result.chosen
    remark = "chosen" if chosen else "too much loss" if candidate.loss > result.max_loss else ""
    known = number(number_of(candidate.found), 4), basis_text(candidate.found)
    return candidate.name, *known, f"{candidate.megabytes:.4g}", f"{candidate.loss:.4f}", candidate.loss_of, remark
