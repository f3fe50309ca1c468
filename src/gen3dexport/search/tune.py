"""Tune: a mixed-precision search. Greedy over the layers' sensitivities on the eager model, then built and measured.

Layers join the quantized ones in the order of what they cost per byte saved (per multiplication for latency), as long
as the asset's loss, measured anew at each step, stays within the allowed one. Where latency is minimized, the settings
of samplers are searched as well, and joined with the schemes that were built (`joint`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gen3dexport.documents.recipe import ComponentChoice
from gen3dexport.errors import UsageError
from gen3dexport.plan import Plan
from gen3dexport.reports.judge import number_of
from gen3dexport.reports.text import basis_text, number
from gen3dexport.search.candidates import UNITS, Goal, best, built
from gen3dexport.search.joint import searched
from gen3dexport.search.records import Built, Layer, Tried, Tuned
from gen3dexport.search.sensitivity import sensitivity
from gen3dexport.search.trials import Choice, Trials

Choices = Mapping[str, Choice]
OnStage = Callable[[str, str], None]


def tune(plan: Plan, goal: Goal, on_stage: OnStage = lambda component, stage: None) -> Tuned:
    """The search's evidence; `chosen` is the best candidate within the allowed loss, which may be a uniform one.

    Raises:
        UsageError: for an unknown quantity, or a recipe that makes no assets.
        UnmeasuredError: when the quantity can be neither measured nor estimated here.
    """
    if goal.minimize not in UNITS:
        raise UsageError(f"--minimize {goal.minimize}: unknown; there are {', '.join(UNITS)}")
    trials = Trials(plan, on_stage, goal.prompts)
    found = sensitivity(trials, on_trial=on_stage)
    tried = [_trial(trials, name, choices, True) for name, choices in _uniform(trials).items()]
    if plan.rules:  # a mixture already: judged with the others, no uniform scheme to beat
        tried.append(_trial(trials, "recipe", _own(plan, rules=True), False))
    path = []
    for k, (choices, loss) in enumerate(_greedy(trials, found.rows, goal, on_stage), 1):
        path.append(_trial(trials, f"mixed {k}", choices, False, loss))

    def made(point: Tried) -> Built:
        on_stage(point.name, "build")
        return built(plan, point, goal, trials)

    candidates = [made(point) for point in tried if point.loss <= goal.max_loss]
    candidates += _furthest(path, goal, made)
    found_samplers = None
    if goal.samplers:
        found_samplers, resampled = searched(trials, candidates, goal, made, on_stage)
        candidates += resampled
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
        held_out=goal.held_out,
        samplers=found_samplers,
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
        good, bad = (next_, bad) if goal.allows(found[-1]) else (good, next_)
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


def head(result: Tuned) -> tuple[str, ...]:
    """The columns of `cells`; a basis is that of the column before it."""
    held = ("#loss held out",) if result.held_out is not None else ()
    return "candidate", f"#{result.minimize}, {result.unit}", "basis", "#weights, MB", "#loss", *held, "loss of", "~"


def cells(candidate: Built, result: Tuned) -> tuple[str, ...]:
    """A candidate as people read it: name, quantity, how it is known, size, losses, remark."""
    largest = max(candidate.loss, candidate.held_out or 0.0)
    remark = "chosen" if candidate.name == result.chosen else "too much loss" if largest > result.max_loss else ""
    known = number(number_of(candidate.found), 4), basis_text(candidate.found)
    held = (loss_text(candidate.held_out),) if result.held_out is not None else ()
    row = candidate.name, *known, f"{candidate.megabytes:.4g}", loss_text(candidate.loss), *held
    return *row, candidate.loss_of, remark


def loss_text(loss: float | None) -> str:
    """A loss as people read it."""
    return "–" if loss is None else f"{loss:.4f}"
