"""Candidates of a search: built, measured from disk, and the best of them within the allowed loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gen3dexport.build import build
from gen3dexport.disk import scratch
from gen3dexport.documents.budgets import Budgets
from gen3dexport.documents.recipe import ComponentChoice
from gen3dexport.errors import UnmeasuredError, UsageError
from gen3dexport.plan import Plan
from gen3dexport.reports.judge import largest_peak, median, number_of
from gen3dexport.reports.records import Estimated, Measured, MeasuredTimes, Report, Unmeasured, Value
from gen3dexport.reports.report import make_report
from gen3dexport.search.records import Built, HeldOut, Tried
from gen3dexport.search.sampler_knobs import under
from gen3dexport.search.trials import Trials, choices_of, with_prompts
from gen3dexport.validation.validate import measure_assets_in_child

UNITS = {"size": "MB", "latency": "ms", "memory": "MB"}


@dataclass(frozen=True)
class Goal:
    """What to minimize (`size`, `latency` or `memory`), the largest loss allowed, and the most candidates to build.

    Loss is the mean over the golden prompts of what their assets lose against the float32 ones (`assets.score.loss`).

    Attributes:
        candidates: mixtures that are built, and as many times settings of samplers.
        samplers: whether sampler settings are searched, too, for the least latency.
        held_out: prompts whose mean loss has to keep within the allowed one as well; None where none are wanted.
    """

    minimize: str = "size"
    max_loss: float = 0.01
    candidates: int = 5
    samplers: bool = False
    held_out: HeldOut | None = None

    @property
    def prompts(self) -> tuple[str, ...]:
        """The held-out prompts."""
        return () if self.held_out is None else self.held_out.prompts

    def allows(self, candidate: Tried) -> bool:
        """Whether a candidate keeps within the allowed loss, on the held-out prompts too."""
        held = candidate.held_out
        return candidate.loss <= self.max_loss and (held is None or held <= self.max_loss)


def with_choices(plan: Plan, choices: Mapping[str, ComponentChoice]) -> Plan:
    """The plan of a candidate: its schemes and rules, float32 where it has none, and no budgets."""
    full = {name: choices.get(name, ComponentChoice(scheme="fp32")) for name in plan.schemes}
    recipe = plan.recipe.model_copy(update={"components": full, "budgets": Budgets()})
    own = replace(plan, recipe=recipe, target=plan.target.model_copy(update={"budgets": Budgets()}))
    return own.with_schemes({n: c.scheme or "fp32" for n, c in full.items()}, {n: c.rules for n, c in full.items()})


def built(plan: Plan, point: Tried, goal: Goal, trials: Trials) -> Built:
    """A candidate built and measured from disk: the quantity, and the losses where the target's device is here.

    Args:
        plan: the recipe's own; trials: of it, for the assets that losses are against.
    """
    own = under(plan, point.knobs)
    assert own is not None, "it was tried"
    with scratch() as place:
        folder = place / "candidate"
        manifest = build(with_choices(with_prompts(own, goal.prompts), point.choices), folder)
        measured, assets = measure_assets_in_child(folder, manifest)
        report = make_report(manifest, "candidate", measured, {}, "")
    fields = {**dict(point), "megabytes": report.size_bytes / 1e6}
    if assets:
        loss, held_out = trials.losses(assets)
        fields |= {"loss": loss, "held_out": held_out, "loss_of": "built programs"}
    elif goal.prompts and point.held_out is None:  # on the eager model, as the loss is
        fields["held_out"] = trials.held_out(choices_of(point.choices))
    per_call = {c.component: median(c.latency) for c in report.networks}
    found = quantity(report, manifest.calls, goal.minimize)
    return Built(**fields, found=found, device=report.device, calls=manifest.calls, per_call=per_call)


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
    fit = [(c, value) for c in candidates if goal.allows(c) and (value := number_of(c.found)) is not None]
    if not fit:
        raise UsageError(f"nothing stays within a loss of {goal.max_loss:g}, not even float32 programs; allow more")
    return min(fit, key=lambda c: c[1])
