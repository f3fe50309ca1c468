"""Budgets: floors and ceilings that a recipe or a target puts on what is measured."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pydantic import Field

from gen3dexport.documents.record import Record
from gen3dexport.documents.shipped import did_you_mean


class Budgets(Record):
    """Limits; a field that is not set asks for nothing.

    Attributes:
        relative_l2: worst relative L2 error of any component against its own quantized eager model (ceiling).
        relative_l2_fp32: the same against the float32 eager model (ceiling).
        scores: of the generated against the float32 eager assets, the mean over the golden prompts: kind of asset ->
            score -> limit, a floor where higher is better, else a ceiling.
        latency_ms: median time of one asset (ceiling).
        peak_memory_mb: peak memory of the largest component while it runs (ceiling).
        size_mb: programs and weights on disk (ceiling).
        size_ratio: bytes of each quantized program over those of its own unquantized program (ceiling; below 1 the
            build fails where quantization makes nothing smaller).
        allow_slowdown: how much slower than its own unquantized program a quantized program may be, as a fraction: 0.1
            is a tenth slower, 0 not slower, -0.3 at least three tenths faster. Both are timed in one process in turn.
        baseline: scheme of the program that `size_ratio` and `allow_slowdown` compare with.
        accept_estimates: whether an estimated number may pass a budget.
        accept_unmeasured: whether a build succeeds although a budget could not be judged, because the device is not at
            hand; the verdict stays `unmeasured`, and `validate` on a machine with the device judges it.
    """

    relative_l2: float | None = Field(default=None, gt=0)
    relative_l2_fp32: float | None = Field(default=None, gt=0)
    scores: dict[str, dict[str, float]] = {}
    latency_ms: float | None = Field(default=None, gt=0)
    peak_memory_mb: float | None = Field(default=None, gt=0)
    size_mb: float | None = Field(default=None, gt=0)
    size_ratio: float | None = Field(default=None, gt=0)
    allow_slowdown: float | None = Field(default=None, gt=-1)
    baseline: str = "fp32"
    accept_estimates: bool = False
    accept_unmeasured: bool = False

    @property
    def gates(self) -> bool:
        """Whether quantized programs are compared with their own unquantized ones."""
        return self.size_ratio is not None or self.allow_slowdown is not None

    def over(self, base: Budgets) -> Budgets:
        """These budgets, with `base` where nothing is set."""
        kinds = dict.fromkeys((*base.scores, *self.scores))
        scores = {kind: {**base.scores.get(kind, {}), **self.scores.get(kind, {})} for kind in kinds}
        own, others = (b.model_dump(exclude_unset=True, exclude={"scores"}) for b in (self, base))
        return Budgets(**{**others, **own}, scores=scores)


def wrong_scores(budgets: Budgets, known: Mapping[str, Mapping[str, tuple[float, float]]]) -> list[str]:
    """What `budgets.scores` names and is not there, and limits that no asset can have; one problem each.

    Args:
        known: least and largest value by name of a score, by kind of asset, of the kinds that the pipeline makes; a
            kind with no names may have any.
    """
    problems = []
    for kind, limits in budgets.scores.items():
        if kind not in known:
            problems.append(f"budgets.scores.{kind}: this pipeline makes no such asset{did_you_mean(kind, known)}")
            continue
        for name, limit in limits.items() if known[kind] else ():
            if name not in known[kind]:
                problems.append(f"budgets.scores.{kind}.{name}: no such score{did_you_mean(name, known[kind])}")
                continue
            least, largest = known[kind][name]
            if not least <= limit <= largest:
                problems.append(f"budgets.scores.{kind}.{name}: {limit:g} is no such score; {_between(least, largest)}")
    return problems


def _between(least: float, largest: float) -> str:
    return f"give {least:g} to {largest:g}" if math.isfinite(largest) else f"give {least:g} or more"
