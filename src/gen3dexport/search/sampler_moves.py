"""Moves of the search for fewer calls: from a sampler's settings to others under which it calls its network less."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from gen3dexport.models.declaration import SamplerKnobs
from gen3dexport.models.flow_sampler import Schedule
from gen3dexport.plan import Plan
from gen3dexport.search.sampler_knobs import Knobs, path_of, settable, under
from gen3dexport.search.step_lists import kept_times, nearest_reuse, reuse_sets

Kind = Literal["steps", "reuse", "late", "early", "unguided"]
"""Fewer steps, or a step's guidance reused; no guidance in the last guided step, in the first, or in any."""
GUIDANCE: tuple[Kind, ...] = ("reuse", "late", "early", "unguided")
_RESCALED = (0.5, 2.0)
_SPACING = ("steps", "rescale_t", "step_times")


@dataclass(frozen=True)
class Recorded:
    """What the float32 pipeline did under the recipe's own settings of a sampler.

    Attributes:
        sampler: these settings; latents: of each golden prompt, before every step and after the last one; differences:
            of the branches, by time; none where they are not known.
    """

    sampler: SamplerKnobs
    latents: Sequence[np.ndarray] = ()
    differences: Mapping[float, Any] = field(default_factory=dict)


class Moves:
    """The moves of the sampler that calls one component.

    Args:
        own: the recipe's plan; name: of the component.
    """

    def __init__(self, own: Plan, name: str, recorded: Recorded) -> None:
        self.own, self.name, self.recorded = own, name, recorded
        self.sampler = recorded.sampler
        self.settable = settable(own, self.sampler)

    def fewer_steps(self, knobs: Knobs, count: int) -> Iterator[Knobs]:
        """So many steps: spaced as the recipe's are, spaced anew, and those that a recorded trajectory needs most."""
        kept = {path: v for path, v in knobs.items() if path not in {self._path(name) for name in _SPACING}}
        own = self.sampler.schedule
        even: dict[str, Any] = {"steps": count}
        if own is not None and own.step_times is not None and "step_times" in self.settable:
            even["step_times"] = None
        yield from self._settled(knobs, kept, even)
        if own is None:
            return
        if "rescale_t" in self.settable and count > 1:
            for factor in _RESCALED:
                yield from self._settled(knobs, kept, {**even, "rescale_t": round(factor * own.rescale_t, 4)})
        if "step_times" in self.settable and self.recorded.latents and count < own.steps:
            times = tuple(round(t, 6) for t in kept_times(self.recorded.latents, own, count))
            without: dict[str, Any] = {name: None for name in ("steps", "rescale_t") if name in self.settable}
            yield from self._settled(knobs, kept, {**without, "step_times": times})

    def other_order(self, knobs: Knobs) -> Iterator[Knobs]:
        """The same steps by the other order."""
        schedule = self._schedule(knobs)
        if "order" in self.settable and schedule is not None and schedule.steps > 1:
            yield {**knobs, self._path("order"): 3 - schedule.order}

    def less_guidance(self, knobs: Knobs, kind: Kind) -> Iterator[Knobs]:
        """Fewer calls of the unconditional branch."""
        schedule = self._schedule(knobs)
        if kind == "unguided":
            if self.sampler.unguided:
                own = {path_of(self.sampler, name): value for name, value in self.sampler.unguided.items()}
                yield from self._settled(knobs, {**knobs, **own}, {})
            return
        if schedule is None:
            return
        guided = [t for t, weight in zip(schedule.times, schedule.weights, strict=False) if weight != 1.0]
        if kind == "reuse" and "reuse_guidance" in self.settable:
            larger = [
                s for s in reuse_sets(self.recorded.differences, schedule) if len(s) > len(schedule.reuse_guidance)
            ]
            for number in sorted({0, len(larger) // 2, len(larger) - 1} & {*range(len(larger))}):
                yield {**knobs, self._path("reuse_guidance"): larger[number]}
        elif kind in ("late", "early") and "guidance_interval" in self.settable and len(guided) > 1:
            low, high = schedule.guidance_interval
            if kind == "late":
                low = _between(guided[-1], guided[-2])
            else:
                high = _between(guided[1], guided[0])
            yield from self._settled(knobs, knobs, {"guidance_interval": (low, high)})

    def _path(self, name: str) -> str:
        return path_of(self.sampler, name)

    def _schedule(self, knobs: Knobs) -> Schedule | None:
        plan = under(self.own, knobs)
        declared = None if plan is None else plan.declared[self.name].sampler
        return None if declared is None else declared.schedule

    def _settled(self, before: Knobs, kept: Knobs, fields: Mapping[str, Any]) -> Iterator[Knobs]:
        """`kept` with other fields of the schedule, where the family takes them; the steps whose guidance is reused are
        those nearest to the ones that do so before."""
        knobs = {**kept, **{self._path(name): value for name, value in fields.items()}}
        old = self._schedule(before)
        if old is not None and old.reuse_guidance:
            knobs[self._path("reuse_guidance")] = ()
            new = self._schedule(knobs)
            knobs[self._path("reuse_guidance")] = nearest_reuse(old, new) if new is not None else ()
            own = self.sampler.schedule
            if not knobs[self._path("reuse_guidance")] and own is not None and not own.reuse_guidance:
                del knobs[self._path("reuse_guidance")]  # as the recipe has it
        if under(self.own, knobs) is not None:
            yield knobs


def _between(low: float, high: float) -> float:
    """A number between two, short where a short one is."""
    middle = (low + high) / 2
    return next(r for digits in range(2, 18) if low < (r := round(middle, digits)) < high)
