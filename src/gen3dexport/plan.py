"""Plans: what a recipe and a target decide, checked before any weight is read."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from gen3dexport import backends, models
from gen3dexport.errors import MissingError, UsageError
from gen3dexport.recipe import Recipe
from gen3dexport.shipped import did_you_mean
from gen3dexport.target import Target


@dataclass(frozen=True)
class Plan:
    """A recipe and a target that go together.

    Attributes:
        recipe, target: as resolved.
        backend: the backend's module; options: its options.
        pipeline: the family's host module; settings: the pipeline's settings.
        schemes: quantization scheme by component, in the order the components run.
    """

    recipe: Recipe
    target: Target
    backend: ModuleType
    options: Any
    pipeline: ModuleType
    settings: Any
    schemes: dict[str, str]


def make_plan(recipe: Recipe, target: Target) -> Plan:
    """Check that `recipe` and `target` go together.

    Raises:
        UsageError: with every problem: missing weights, unknown components, schemes that the backend refuses.
    """
    backend = backends.find(target.backend)
    pipeline = models.pipeline(recipe.family)
    settings = pipeline.read_settings(recipe.weights_folder(), recipe.sampler)
    names = pipeline.components(settings)
    problems = [
        f"recipe {recipe.name}: components.{name}: no such component{did_you_mean(name, names)}"
        for name in recipe.components
        if name not in names
    ]
    schemes = {name: recipe.scheme(name, target) for name in names}
    for name, scheme in schemes.items():
        if scheme in backend.REFUSED:
            problems.append(
                f"{recipe.name} on {target.name}: components.{name}.scheme: {scheme} is refused: "
                f"{backend.REFUSED[scheme]}; use one of {', '.join(backend.SCHEMES)}"
            )
        elif scheme not in backend.SCHEMES:
            hint = did_you_mean(scheme, backend.SCHEMES)
            problems.append(f"{recipe.name} on {target.name}: components.{name}.scheme: unknown {scheme!r}{hint}")
    if problems:
        raise UsageError.of(problems)
    return Plan(recipe, target, backend, target.backend_options(), pipeline, settings, schemes)


def require_ready(plan: Plan) -> None:
    """Check that this machine has what the target needs.

    Raises:
        MissingError: with the remedy of each missing piece.
    """
    missing = plan.backend.check(plan.options)
    if missing:
        raise MissingError(f"target {plan.target.name} cannot be built here:\n  " + "\n  ".join(missing))
