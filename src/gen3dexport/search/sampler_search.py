"""The search for sampler settings that call networks less: coordinate descent on the eager float32 model.

From the recipe's own settings, every sampler's moves are tried one at a time; the one that loses least for the time
that it saves is taken, and the search goes on from there until no move keeps within the allowed loss. A loss is one
against the float32 assets of the recipe's own settings, so fewer steps count as loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from gen3dexport.plan import Plan
from gen3dexport.search.sampler_knobs import Knobs, samplers, settable, text, under
from gen3dexport.search.sampler_moves import GUIDANCE, Kind, Moves, Recorded
from gen3dexport.search.step_lists import branch_differences
from gen3dexport.search.trials import Trials

MOST = 60
"""Settings that are tried; each is a run of the float32 pipeline on every golden prompt."""


@dataclass(frozen=True)
class Point:
    """Sampler settings that were tried.

    Attributes:
        knobs: beside the recipe's own; plan: with them.
        calls: for one asset, by component; cost: of them all, in milliseconds.
        loss: of the golden prompts' float32 assets.
    """

    knobs: Knobs
    plan: Plan
    calls: Mapping[str, int]
    cost: float
    loss: float

    @property
    def name(self) -> str:
        """The knobs as overrides are written."""
        return text(self.knobs) or "the recipe's own"


class SamplerSearch:
    """The settings that were tried, the recipe's own first.

    Args:
        trials: of the recipe's own settings.
        per_call: milliseconds of one call, by component.
    """

    def __init__(
        self, trials: Trials, per_call: Mapping[str, float], max_loss: float, on_stage: Callable[[str, str], None]
    ) -> None:
        self._trials, self._per_call, self._max_loss, self._on_stage = trials, per_call, max_loss, on_stage
        self._samplers = samplers(trials.plan)
        self.points = [Point({}, trials.plan, *self._calls(trials.plan), 0.0)]
        self._seen = {_key({}): self.points[0]}

    def run(self) -> list[Point]:
        """Search; the points within the allowed loss, cheapest first."""
        moves = {name: Moves(self._trials.plan, name, self._recorded(name)) for name in self._samplers}
        cuts = {name: max(1, own.steps // 4) for name, own in self._samplers.items()}
        left: dict[str, list[Kind]] = {name: list(GUIDANCE) for name in moves}
        here: Point | None = self.points[0]
        while here is not None and len(self.points) <= MOST:
            found = []
            for name, of_sampler in moves.items():
                within, cuts[name] = self._steps(here, name, of_sampler, cuts[name])
                found += within
                for kind in tuple(left[name]):
                    within = self._try(here, name, of_sampler.less_guidance(here.knobs, kind))
                    found += within
                    if not within:  # it will not do with fewer steps, either
                        left[name].remove(kind)
            start = here
            here = min(found, key=lambda p: (p.loss - start.loss) / (start.cost - p.cost), default=None)
        return sorted((p for p in self.points if p.loss <= self._max_loss), key=lambda p: (p.cost, p.loss))

    def _steps(self, here: Point, name: str, moves: Moves, cut: int) -> tuple[list[Point], int]:
        """The points with fewer steps that are within the allowed loss, and by how many the next cut is: less where a
        larger one lost too much, 0 where one step less does."""
        sampler = here.plan.declared[name].sampler
        assert sampler is not None
        cut = min(cut, sampler.steps - 1)
        while cut:
            settings = list(moves.fewer_steps(here.knobs, sampler.steps - cut))
            within = self._try(here, name, settings)
            if tried := [self._seen[_key(knobs)] for knobs in settings if _key(knobs) in self._seen]:
                best = min(tried, key=lambda p: p.loss)
                within += self._try(here, name, moves.other_order(best.knobs))
            if within:
                return within, cut
            cut //= 2
        return [], 0

    def _try(self, here: Point, name: str, settings: Iterable[Knobs]) -> list[Point]:
        """Those of the settings that cost less than `here` and keep within the allowed loss."""
        found = []
        for knobs in settings:
            point = self._seen.get(_key(knobs)) or self._point(here, name, knobs)
            if point is not None and point.cost < here.cost and point.loss <= self._max_loss:
                found.append(point)
        return found

    def _point(self, here: Point, name: str, knobs: Knobs) -> Point | None:
        """The settings tried; None where the family does not take them, or they cost no less than `here`."""
        plan = under(self._trials.plan, knobs)
        if plan is None or len(self.points) > MOST:
            return None
        calls, cost = self._calls(plan)
        if cost >= here.cost:
            return None
        self._on_stage(name, f"try {text(knobs)}")
        point = Point(knobs, plan, calls, cost, self._trials.under(plan).loss({}))
        self.points.append(point)
        self._seen[_key(knobs)] = point
        return point

    def _calls(self, plan: Plan) -> tuple[dict[str, int], float]:
        """Calls for one asset by component, and what they cost together."""
        calls = {name: seen.count for name, seen in self._trials.observations.items()}
        for name in self._samplers:
            sampler = plan.declared[name].sampler
            assert sampler is not None
            calls[name] = sampler.calls
        return calls, sum(count * self._per_call[name] for name, count in calls.items())

    def _recorded(self, name: str) -> Recorded:
        """What was observed of a sampler under the recipe's own settings; branches are those of the first prompt."""
        seen, plan, sampler = self._trials.observations[name], self._trials.plan, self._samplers[name]
        differences = {}
        if "reuse_guidance" in settable(plan, sampler):
            differences = branch_differences(seen.component, plan.declared[name], self._trials.before[name][0])
        return Recorded(sampler, seen.trajectories, differences)


def _key(knobs: Knobs) -> str:
    return repr(sorted(knobs.items()))
