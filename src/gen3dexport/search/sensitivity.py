"""Sensitivity: what quantizing each layer alone costs, at the component's output and in the asset."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from gen3dexport.assets import kinds
from gen3dexport.documents.shipped import did_you_mean
from gen3dexport.errors import UsageError
from gen3dexport.plan import Plan
from gen3dexport.search.records import Layer, Sensitivity
from gen3dexport.search.trials import Choice, Trials

OnTrial = Callable[[str, str], None]


def schemes_to_try(plan: Plan, name: str, asked: Sequence[str] = ()) -> list[str]:
    """The asked schemes; else the recipe's own for the component; else every one of the target's that quantizes.

    Raises:
        UsageError: for a scheme that the target refuses or does not know.
    """
    known = [scheme for scheme in plan.backend.SCHEMES if scheme != "fp32"]
    for scheme in asked:
        if scheme not in known:
            why = plan.backend.REFUSED.get(scheme)
            raise UsageError(
                f"--scheme {scheme}: " + (f"refused: {why}" if why else f"not here{did_you_mean(scheme, known)}")
            )
    own = plan.schemes[name]
    return list(asked) or ([own] if own != "fp32" else known)


def check_asked(plan: Plan, components: Sequence[str], schemes: Sequence[str]) -> None:
    """Check components and schemes that are asked for, before any weight is read.

    Raises:
        UsageError: for an unknown component or scheme.
    """
    for name in components:
        if name not in plan.schemes:
            raise UsageError(f"--component {name}: unknown{did_you_mean(name, plan.schemes)}")
    schemes_to_try(plan, next(iter(plan.schemes)), schemes)


def sensitivity(
    trials: Trials, components: Sequence[str] = (), schemes: Sequence[str] = (), on_trial: OnTrial = lambda c, p: None
) -> Sensitivity:
    """One row per component, scheme and layer: with only that layer quantized, the SNR and the asset's loss.

    A layer of a repeated block is quantized in every block. A row that the target refuses says why.

    Raises:
        UsageError: for an unknown component or scheme.
    """
    plan = trials.plan
    check_asked(plan, components, schemes)
    rows = []
    for name in components or plan.schemes:
        for scheme in schemes_to_try(plan, name, schemes):
            for pattern, layers in trials.groups(name, scheme).items():
                on_trial(name, f"{scheme} {pattern}")
                rows.append(_row(trials, name, scheme, pattern, layers))
    return Sensitivity(
        recipe=plan.recipe.name,
        target=plan.target.name,
        prompts=plan.recipe.golden.prompts,
        seed=plan.recipe.golden.seed,
        loss=loss_text(plan.settings.asset_kinds),
        rows=tuple(rows),
    )


def loss_text(made: Sequence[str]) -> str:
    """What the loss is of assets of these kinds."""
    primary = (f"{kind.replace('_', ' ')} {scales[0].name}" for kind in made if (scales := kinds.of(kind).SCALES))
    return (
        f"the largest of 1 - {', 1 - '.join(primary)}; the mean over the golden prompts' assets, against the float32 "
        "eager ones"
    )


def _row(trials: Trials, name: str, scheme: str, pattern: str, layers: Sequence[str]) -> Layer:
    choice = Choice(rules=((pattern, scheme),))
    module = trials.observations[name].component.module
    parameters = sum(p.numel() for layer in layers for p in module.get_submodule(layer).parameters())
    row = Layer(component=name, scheme=scheme, pattern=pattern, layers=len(layers), parameters=parameters)
    try:
        snr = trials.snr_db(name, choice)
    except UsageError as error:  # narrower than the target takes, or a scheme that its device has no kernels for
        return row.model_copy(update={"reason": str(error)})
    saved = trials.bytes(name, Choice()) - trials.bytes(name, choice)
    if snr == math.inf:
        return row.model_copy(update={"saved_bytes": saved, "reason": "it changes nothing"})
    return row.model_copy(update={"saved_bytes": saved, "snr_db": snr, "loss": trials.loss({name: choice})})


HEAD = ("component", "layer", "scheme", "#layers", "#saved, MB", "#SNR, dB", "#loss", "~basis")


def cells(row: Layer) -> tuple[str, ...]:
    """A row as people read it, under `HEAD`."""
    first = (row.component, row.pattern, row.scheme, str(row.layers))
    if row.saved_bytes is None or row.snr_db is None or row.loss is None:
        return (*first, "–", "–", "–", f"unmeasured: {row.reason}")
    return (*first, f"{row.saved_bytes / 1e6:.3g}", f"{row.snr_db:.1f}", f"{row.loss:.4f}", "measured")
