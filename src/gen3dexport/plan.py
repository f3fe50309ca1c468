"""Plans: what a recipe and a target decide, checked before any weight is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ValidationError, create_model

from gen3dexport import backends, models
from gen3dexport.assets import kinds
from gen3dexport.documents import recipe as recipes
from gen3dexport.documents import target as targets
from gen3dexport.documents.budgets import Budgets, wrong_scores
from gen3dexport.documents.recipe import Recipe
from gen3dexport.documents.shipped import did_you_mean, documents
from gen3dexport.documents.target import Target
from gen3dexport.errors import MissingError, RefusedError, UsageError
from gen3dexport.models import Family
from gen3dexport.models.declaration import Declaration, Reading
from gen3dexport.quantization.schemes import CALIBRATED, SCHEMES


@dataclass(frozen=True)
class Plan:
    """A recipe and a target that go together.

    Attributes:
        recipe, target: as resolved.
        backend: the backend's module; options: its options.
        family: the model family's package; settings: the pipeline's settings.
        weights: the folder of the checkpoint.
        declared: the pipeline's components by name, in the order they run.
        schemes: quantization scheme by component, in the order the components run.
        rules: exceptions to it by component, pattern -> scheme; only components that have some.
        smoothing: strength of smoothing by component; only those that are smoothed.
        allow_pickle: whether weights may be read from a pickle (tensors only) where there is no safetensors file.
    """

    recipe: Recipe
    target: Target
    backend: ModuleType
    options: Any
    family: Family
    settings: Any
    weights: Path
    declared: dict[str, Declaration]
    schemes: dict[str, str]
    rules: dict[str, dict[str, str]]
    allow_pickle: bool = False
    smoothing: Mapping[str, float] = field(default_factory=dict)

    @property
    def reading(self) -> Reading:
        """How stored weights are read."""
        return Reading(self.allow_pickle, self.recipe.strip_prefix)

    @property
    def budgets(self) -> Budgets:
        """The recipe's budgets, with the target's where it sets none."""
        return self.recipe.budgets.over(self.target.budgets)

    @property
    def stand_in(self) -> Literal["trained", "random"]:
        """What golden requests stand in for, see `models.Request`."""
        return "trained" if self.recipe.golden.assets and not self.recipe.random_weights else "random"

    @property
    def calibrates(self) -> bool:
        """Whether a scheme of this plan needs the ranges of a calibration."""
        return any(scheme in CALIBRATED for _, scheme in _asked(self))

    def with_schemes(self, schemes: Mapping[str, str], rules: Mapping[str, dict[str, str]]) -> Plan:
        """This plan with other schemes and exceptions."""
        return replace(self, schemes=dict(schemes), rules={k: dict(v) for k, v in rules.items() if v})


def read_target(name: str) -> Target:
    """The target of that name, alias or YAML path, its backend, default scheme and options checked.

    Raises:
        UsageError: with every problem.
    """
    target = targets.read_target(name, _checked_target)
    backend_options(target)
    return target


def _checked_target(data: Mapping[str, Any]) -> type[Target]:
    """A model of targets that takes the backends there are, and the schemes and options of the document's own."""
    name = data.get("backend")
    backend = backends.find(name) if isinstance(name, str) and name in backends.names() else None

    def known_backend(word: str) -> str:
        if backend is None:
            raise ValueError(f"unknown backend{did_you_mean(word, backends.names())}")
        return word

    def taken_scheme(scheme: str) -> str:
        words = SCHEMES if backend is None else backend.SCHEMES
        reason = None if backend is None else backend.REFUSED.get(scheme)
        if reason is None and backend is not None:
            with suppress(ValidationError, TypeError):  # options that are wrong are told with their own key
                reason = backends.refused_for(backend, scheme, backend.Options(**data.get("options", {})))
        if reason is not None:
            raise ValueError(f"refused by {name}: {reason}; instead: {', '.join(words)}")
        if scheme not in words:
            raise ValueError(f"unknown scheme{did_you_mean(scheme, words)}")
        return scheme

    fields: dict[str, Any] = {
        "backend": (Annotated[str, AfterValidator(known_backend)], ...),
        "default_scheme": (Annotated[str, AfterValidator(taken_scheme)], "fp32"),
    }
    if backend is not None and data.get("options"):
        fields["options"] = (backend.Options, ...)
    return create_model("Target", __base__=Target, **fields)


def backend_options(target: Target) -> Any:
    """A target's options as its backend's own model.

    Raises:
        UsageError: when the backend does not know one.
    """
    model = backends.find(target.backend).Options
    try:
        return model(**target.options)
    except ValidationError as error:
        raise UsageError.of(
            [
                f"target {target.name}: options.{'.'.join(map(str, e['loc']))}: {e['msg']}"
                + (did_you_mean(str(e["loc"][-1]), model.model_fields) if e["type"] == "extra_forbidden" else "")
                for e in error.errors()
            ]
        ) from None


def read_recipe(name: str, target: Target | None = None, assignments: Sequence[str] = ()) -> Recipe:
    """The recipe of that name or YAML path, with the target's exceptions and `key=value` assignments applied.

    Raises:
        UsageError: with every problem.
    """
    names = documents("targets")
    known = {*names, *(name.partition("-")[0] for name in names), *targets.aliases(), *backends.names()}
    vocabulary = recipes.Vocabulary(knobs=lambda family: models.find(family).Knobs, targets=known)
    return recipes.read_recipe(name, vocabulary, target, assignments)


def make_plan(recipe: Recipe, target: Target, allow_pickle: bool = False) -> Plan:
    """Check that `recipe` and `target` go together.

    Raises:
        UsageError: with every problem: missing weights, unknown components, schemes that the backend refuses; a
            RefusedError where the backend's refusals are all.
    """
    backend = backends.find(target.backend)
    family = models.find(recipe.family)
    weights = family.Knobs.WEIGHTS.folder(recipe.weights, f"recipe {recipe.name}")
    settings = family.read_settings(weights, recipe.knobs, recipe.random_weights)
    declared = {d.name: d for d in family.components(settings)}
    problems = [
        f"recipe {recipe.name}: components.{name}: no such component{did_you_mean(name, declared)}"
        for name in recipe.components
        if name not in (*declared, *settings.left_out)
    ]
    schemes = {name: recipe.scheme(name, target) for name in declared}
    rules = {name: recipe.rules(name) for name in declared if recipe.rules(name)}
    plan = Plan(
        recipe=recipe,
        target=target,
        backend=backend,
        options=backend_options(target),
        family=family,
        settings=settings,
        weights=weights,
        declared=declared,
        schemes=schemes,
        rules=rules,
        allow_pickle=allow_pickle,
        smoothing={name: s for name in declared if (s := recipe.smoothing(name)) is not None},
    )
    refusals = []
    reason = getattr(backend, "NO_BATCHED_GUIDANCE", None)
    for knob in (d.batched for d in declared.values() if reason and d.batched):
        refusals.append(f"{recipe.name} on {target.name}: {knob}: batched is refused: {reason}")
    for key, scheme in _asked(plan):
        where = f"{recipe.name} on {target.name}: {key}"
        if (why := backends.refused_for(backend, scheme, plan.options)) is not None:
            others = [s for s in backend.SCHEMES if backends.refused_for(backend, s, plan.options) is None]
            remedy = "" if "; use " in why else f"; use one of {', '.join(others)}"
            refusals.append(f"{where}: {scheme} is refused: {why}{remedy}")
        elif scheme not in backend.SCHEMES:
            problems.append(f"{where}: unknown {scheme!r}{did_you_mean(scheme, backend.SCHEMES)}")
        elif scheme in CALIBRATED and recipe.calibration is None:
            problems.append(f"{where}: {scheme} needs calibration.prompts, prompts to observe activations with")
    known = {kind: {s.name: s.range for s in kinds.of(kind).SCALES} for kind in settings.asset_kinds}
    problems += [f"{recipe.name} on {target.name}: {problem}" for problem in wrong_scores(plan.budgets, known)]
    if problems or refusals:
        raise (UsageError if problems else RefusedError).of([*refusals, *problems])
    return plan


def _asked(plan: Plan) -> Iterator[tuple[str, str]]:
    """Every field that names a scheme, with the scheme."""
    for name, scheme in plan.schemes.items():
        yield f"components.{name}.scheme", scheme
        for pattern, other in plan.rules.get(name, {}).items():
            yield f"components.{name}.rules.{pattern}", other
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
