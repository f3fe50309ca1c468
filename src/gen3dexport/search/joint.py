"""Sampler settings together with schemes: the pairs that promise most, judged on the eager model, then built."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from gen3dexport.errors import UnmeasuredError
from gen3dexport.reports.judge import number_of
from gen3dexport.reports.text import basis_text
from gen3dexport.search.candidates import Goal, best
from gen3dexport.search.records import Built, Samplers, SamplerTried, Tried
from gen3dexport.search.sampler_search import Point, SamplerSearch
from gen3dexport.search.trials import Trials, choices_of

MOST = 24
"""Pairs that are judged on the eager model."""
OnStage = Callable[[str, str], None]


def searched(
    trials: Trials, candidates: Sequence[Built], goal: Goal, built: Callable[[Tried], Built], on_stage: OnStage
) -> tuple[Samplers, list[Built]]:
    """The search for sampler settings, and the candidates with such that were built.

    Args:
        candidates: schemes that were built under the recipe's own settings.
        built: builds and measures a candidate.

    Raises:
        UnmeasuredError: when the candidates' times are not known here.
    """
    fastest, own = best(candidates, goal)
    per_call = {name: number_of(value) for name, value in fastest.per_call.items()}
    if unknown := [name for name, value in per_call.items() if value is None]:
        raise UnmeasuredError(
            f"latency cannot be compared here: {unknown[0]} is unmeasured; --minimize size always can"
        )
    known = {name: value for name, value in per_call.items() if value is not None}
    search = SamplerSearch(trials, known, goal.max_loss, on_stage)
    held: dict[str, float | None] = {}

    def on_held_out(point: Point) -> float | None:
        on_stage("held out", point.name)
        held[point.name] = trials.under(point.plan).held_out({})
        return held[point.name]

    front = _front([point for point in search.run() if point.knobs], goal.max_loss, on_held_out)
    tried, made = _joined(trials, front, [c for c in candidates if goal.allows(c)], own, goal, built, on_stage)
    rows = tuple(
        SamplerTried(
            name=p.name, knobs=dict(p.knobs), calls=dict(p.calls), cost=p.cost, loss=p.loss, held_out=held.get(p.name)
        )
        for p in search.points
    )
    said = f"calls × ms of one call of {fastest.name}'s programs ({basis_text(fastest.found)})"
    return Samplers(cost_of=said, rows=rows, joint=tuple(tried)), made


def _front(points: Sequence[Point], max_loss: float, on_held_out: Callable[[Point], float | None]) -> list[Point]:
    """The points within the allowed loss, on the held-out prompts too, whose larger loss is below that of every cheaper
    one.

    Args:
        points: cheapest first.
        on_held_out: the loss of the held-out prompts' assets, which is asked where the point's own loss may do.
    """
    front: list[Point] = []
    least = math.inf
    for point in points:
        if point.loss >= least:
            continue
        worst = max(point.loss, on_held_out(point) or 0.0)
        if worst <= max_loss and worst < least:
            front.append(point)
            least = worst
    return front


def _joined(
    trials: Trials,
    front: Sequence[Point],
    candidates: Sequence[Built],
    own: float,
    goal: Goal,
    built: Callable[[Tried], Built],
    on_stage: OnStage,
) -> tuple[list[Tried], list[Built]]:
    """Pairs in the order of the time that they promise, until one that was built keeps within the allowed loss.

    Args:
        own: time of the fastest candidate so far: pairs that promise no less are left.
    """
    pairs = [
        (promised, point, base)
        for base in candidates
        for point in front
        if (promised := _promised(base, point.calls)) is not None and promised < own
    ]
    tried: list[Tried] = []
    failed: list[tuple[float, float]] = []
    made: list[Built] = []
    under: tuple[Point, Trials] | None = None
    for _, point, base in sorted(pairs, key=lambda pair: pair[0]):
        if len(tried) >= MOST or len(made) >= goal.candidates:
            break
        if any(point.loss >= settings and base.loss >= schemes for settings, schemes in failed):
            continue
        if under is None or under[0] is not point:
            under = point, trials.under(point.plan)
        on_stage(base.name, f"try {point.name}")
        pair = _tried(under[1], point, base)
        tried.append(pair)
        if goal.allows(pair):
            made.append(built(pair))
            if goal.allows(made[-1]):
                break
        else:
            failed.append((point.loss, base.loss))
    return tried, made


def _tried(trials: Trials, point: Point, base: Built) -> Tried:
    """Sampler settings and schemes together, on the eager model."""
    choices = choices_of(base.choices)
    return Tried(
        name=f"{base.name}, {point.name}",
        uniform=False,
        choices=base.choices,
        knobs=dict(point.knobs),
        megabytes=base.megabytes,
        loss=trials.loss(choices),
        held_out=trials.held_out(choices),
    )


def _promised(base: Built, calls: Mapping[str, int]) -> float | None:
    """Milliseconds of one asset's calls, by the times that were measured of the schemes; None where one is not."""
    times = [(calls[name], number_of(value)) for name, value in base.per_call.items()]
    return None if any(ms is None for _, ms in times) else sum(count * (ms or 0.0) for count, ms in times)
