"""Plans: what a recipe and a target decide, checked before any weight is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from gen3dexport import backends, models
from gen3dexport.documents.budgets import Budgets
from gen3dexport.documents.recipe import Recipe
from gen3dexport.documents.shipped import did_you_mean
from gen3dexport.documents.target import Target
from gen3dexport.errors import MissingError, UsageError
from gen3dexport.quantization.schemes import CALIBRATED


@dataclass(frozen=True)
class Plan:
    """A recipe and a target that go together.

    Attributes:
        recipe, target: as resolved.
        backend: the backend's module; options: its options.
        pipeline: the family's host module; settings: the pipeline's settings.
        schemes: quantization scheme by component, in the order the components run.
        modules: exceptions to it by component, pattern -> scheme; only components that have some.
        allow_pickle: whether weights may be read from a pickle (tensors only) where there is no safetensors file.
    """

    recipe: Recipe
    target: Target
    backend: ModuleType
    options: Any
    pipeline: ModuleType
    settings: Any
    schemes: dict[str, str]
    modules: dict[str, dict[str, str]]
    allow_pickle: bool = False

    @property
    def budgets(self) -> Budgets:
        """The recipe's budgets, with the target's where it sets none."""
        return self.recipe.budgets.over(self.target.budgets)

    @property
    def calibrates(self) -> bool:
        """Whether a scheme of this plan needs the ranges of a calibration."""
        return any(scheme in CALIBRATED for _, scheme in _asked(self))

    def with_schemes(self, schemes: Mapping[str, str], modules: Mapping[str, dict[str, str]]) -> Plan:
        """This plan with other schemes and exceptions."""
        return replace(self, schemes=dict(schemes), modules={k: dict(v) for k, v in modules.items() if v})


def make_plan(recipe: Recipe, target: Target, allow_pickle: bool = False) -> Plan:
    """Check that `recipe` and `target` go together.

    Raises:
        UsageError: with every problem: missing weights, unknown components, schemes that the backend refuses.
    """
    backend = backends.find(target.backend)
    pipeline = models.pipeline(recipe.family)
    knobs = (recipe.sampler, recipe.slat_sampler, recipe.voxels, recipe.decoders)
    settings = pipeline.read_settings(recipe.weights_folder(), *knobs, recipe.encoder_folder(), recipe.random_weights)
    names = pipeline.components(settings)
    problems = [
        f"recipe {recipe.name}: components.{name}: no such component{did_you_mean(name, names)}"
        for name in recipe.components
        if name not in (*names, *pipeline.left_out(settings))
    ]
    schemes = {name: recipe.scheme(name, target) for name in names}
    modules = {name: recipe.modules(name) for name in names if recipe.modules(name)}
    plan = Plan(recipe, target, backend, target.backend_options(), pipeline, settings, schemes, modules, allow_pickle)
    reason = getattr(backend, "NO_BATCHED_GUIDANCE", None)
    for field, sampler in {"sampler": recipe.sampler, "slat_sampler": recipe.slat_sampler}.items():
        if reason and sampler is not None and sampler.guidance == "batched":
            problems.append(f"{recipe.name} on {target.name}: {field}.guidance: batched is refused: {reason}")
    for field, scheme in _asked(plan):
        where = f"{recipe.name} on {target.name}: {field}"
        if (why := backends.refused_for(backend, scheme, plan.options)) is not None:
            problems.append(f"{where}: {scheme} is refused: {why}; use one of {', '.join(backend.SCHEMES)}")
        elif scheme not in backend.SCHEMES:
            problems.append(f"{where}: unknown {scheme!r}{did_you_mean(scheme, backend.SCHEMES)}")
        elif scheme in CALIBRATED and recipe.calibration is None:
            problems.append(f"{where}: {scheme} needs calibration.prompts, prompts to record activations with")
    if problems:
        raise UsageError.of(problems)
    return plan


def _asked(plan: Plan) -> Iterator[tuple[str, str]]:
    """Every field that names a scheme, with the scheme."""
    for name, scheme in plan.schemes.items():
        yield f"components.{name}.scheme", scheme
        for pattern, other in plan.modules.get(name, {}).items():
            yield f"components.{name}.modules.{pattern}", other
    if plan.budgets.gates:
        yield "budgets.baseline", plan.budgets.baseline


def require_ready(plan: Plan) -> None:
    """Check that this machine has what the target needs.

    Raises:
        MissingError: with the remedy of each missing piece.
    """
    missing = plan.backend.check(plan.options)
    if missing:
        raise MissingError(f"target {plan.target.name} cannot be built here:\n  " + "\n  ".join(missing))
