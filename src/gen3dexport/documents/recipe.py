"""Recipes: model, weights, per-component quantization, sampler knobs and budgets. Data only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from gen3dexport import backends
from gen3dexport.documents import hub
from gen3dexport.documents.budgets import Budgets
from gen3dexport.documents.document import Record, parse, parse_assignment, read_yaml, with_overrides
from gen3dexport.documents.shipped import did_you_mean, documents, locate, shipped
from gen3dexport.documents.target import Target, aliases
from gen3dexport.errors import UsageError


class ComponentChoice(Record):
    """What a recipe decides for one component.

    Attributes:
        scheme: quantization scheme; the target's default when not set. It covers the linear layers of the repeated
            blocks; what lies around them (first and last layers), norms and embeddings stay in float32.
        modules: exceptions, pattern -> scheme. A pattern (`blocks.*.mlp`, `out_layer`) takes the layers whose
            name, or the name of a module around them, it fits: `*` stands for anything inside one part of a name, `**`
            for any number of parts (`**.to_q`); of two that fit, the last wins. It may take layers that `scheme`
            leaves, convolutions too in half precision, embeddings in int8, and gives float32 back with `fp32`.
    """

    scheme: str | None = None
    modules: dict[str, str] = {}


class Sampler(Record):
    """Sampler knobs; what is not set comes from the checkpoint's `pipeline.json`.

    Attributes:
        guidance: the two branches of a guided step as two calls of the flow (`sequential`, the default) or as one call
            of a batch of two (`batched`: faster where one branch does not fill the device).
        cache_context: the keys and values of the condition once for all steps, by a component of their own
            (`flow_context`, `slat_flow_context`). The flow is then lowered block by block, not one block for all.
        tabulate_time: the timestep's layers as a table of the sampler's steps (on unless false): a quarter of a flow
    """

    steps: int | None = Field(default=None, ge=1, le=1000)
    guidance_scale: float | None = Field(default=None, ge=0)
    guidance_interval: tuple[float, float] | None = None
    rescale_t: float | None = Field(default=None, gt=0)
    guidance: Literal["sequential", "batched"] | None = None
    cache_context: bool | None = None
    tabulate_time: bool | None = None

    @field_validator("guidance_interval")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 <= value[0] <= value[1] <= 1:
            raise ValueError("needs 0 <= low <= high <= 1")
        return value


class Voxels(Record):
    """For how many voxels the programs of a structured latent are built.

    Attributes:
        budget: rows for voxels; a third as many are kept for occupied cells of half the resolution.
        on_overflow: what an asset with more voxels does: `error`, or `coarsen` to half the resolution with a warning.
        gather: how sparse convolutions gather their 27 neighbours: `all-at-once`, `per-plane` (9 at a time),
            `per-line` (3), `per-offset` (1; the least memory), or `auto`: for every convolution as many at a time as
            take 128 MiB.
    """

    budget: int | None = Field(default=None, ge=8, le=262144)
    on_overflow: Literal["error", "coarsen"] = "error"
    gather: Literal["auto", "all-at-once", "per-plane", "per-line", "per-offset"] = "auto"


class Golden(Record):
    """What is recorded with the float32 eager model and kept in the bundle.

    Attributes:
        prompts: one asset each; the first one's network calls become the components' golden data.
        seed: of the noise.
        assets: whether whole assets are made and compared (off for sizes where one asset takes an hour on a CPU).
    """

    prompts: tuple[str, ...] = Field(min_length=1)
    seed: int = 0
    assets: bool = True


class Calibration(Record):
    """What static int8 schemes record the ranges of activations with: whole runs of the float32 eager pipeline.

    Attributes:
        prompts: one asset each; others than the golden ones, so that these judge what was not calibrated on.
        seed: of the first one's noise; the next ones count on.
    """

    prompts: tuple[str, ...] = Field(min_length=1)
    seed: int = 1000


class Recipe(Record):
    """A file of `recipes/`.

    Attributes:
        schema_version: format of this file (`schema: 1`).
        family: the model family under `models/`.
        weights: a folder in the released layout: a shipped name, a path, or an address on the hub (`hub.fetched`).
        random_weights: build with random weights (sizing only; said in manifest and report).
        components: choices by component name.
        sampler: knobs of the (first) sampler; slat_sampler: of the structured latent's.
        voxels: budget of the structured latent.
        decoders: what the structured latent is decoded to; everything that the checkpoint can when not set.
        encoder: folder of the encoder of images or prompts that the checkpoint names, in the transformers library's
            layout, or its address on the hub; `encoders/NAME` in the weights folder when not set, and left out where
            that is not there; `none` leaves it out always. Without it, assets are made of given features.
        calibration: prompts that int8-static needs.
        targets: per-target exceptions, dotted path -> value, by target name, its first word (`cuda`), alias or backend.
    """

    schema_version: Literal[1] = Field(alias="schema")
    name: str
    summary: str
    family: str
    weights: str
    random_weights: bool = False
    components: dict[str, ComponentChoice] = {}
    sampler: Sampler = Sampler()
    slat_sampler: Sampler | None = None
    voxels: Voxels | None = None
    decoders: tuple[Literal["gaussian", "mesh", "radiance_field"], ...] | None = Field(default=None, min_length=1)
    encoder: str | None = None
    golden: Golden
    calibration: Calibration | None = None
    budgets: Budgets = Budgets()
    targets: dict[str, dict[str, Any]] = {}

    def scheme(self, component: str, target: Target) -> str:
        """The quantization scheme of a component on a target."""
        choice = self.components.get(component, ComponentChoice())
        return choice.scheme or target.default_scheme

    def modules(self, component: str) -> dict[str, str]:
        """The exceptions to a component's scheme, pattern -> scheme."""
        return self.components.get(component, ComponentChoice()).modules

    def weights_folder(self) -> Path:
        """Where the weights lie; those of a hub's address are downloaded first.

        Raises:
            UsageError: when there is no such folder, or the address is wrong.
            MissingError: when the hub does not give them.
        """
        if self.weights.startswith(hub.PREFIX):
            return hub.fetched(self.weights)
        places = (shipped("weights") / self.weights, Path(self.weights).expanduser())
        found = [folder for folder in places if (folder / "pipeline.json").is_file()]
        for folder in found:  # a shipped folder may have a model's shapes alone
            if any((folder / "ckpts").glob("*.safetensors")):
                return folder
        if found:
            return found[0]
        raise UsageError(
            f"recipe {self.name}: weights {self.weights!r}: no folder with a pipeline.json; give the local folder of "
            "the checkpoint with weights=FOLDER"
        )

    def encoder_folder(self) -> str | None:
        """`encoder`, downloaded first where it is a hub's address."""
        if self.encoder is not None and self.encoder.startswith(hub.PREFIX):
            return str(hub.fetched(self.encoder, hub.ENCODER))
        return self.encoder


def read_recipe(name: str, target: Target | None = None, assignments: Sequence[str] = ()) -> Recipe:
    """The recipe of that name or YAML path, with the target's exceptions and `key=value` assignments applied.

    Raises:
        UsageError: with every problem.
    """
    path = locate("recipes", name)
    data = read_yaml(path)
    names = documents("targets")
    known_targets = {*names, *(name.partition("-")[0] for name in names), *aliases(), *backends.names()}
    overrides: dict[str, Any] = {}
    problems = []
    for key, fields in (data.get("targets") or {}).items():
        if target is not None and isinstance(fields, Mapping) and _applies(key, target):
            overrides |= fields
        if key not in known_targets:
            line = data["targets"].lc.key(key)[0] + 1
            problems.append(f"{path}:{line}: targets.{key}: unknown target{did_you_mean(str(key), known_targets)}")
    if problems:
        raise UsageError.of(problems)
    overrides |= dict(parse_assignment(text) for text in assignments)
    return parse(with_overrides(data, overrides), Recipe, path)


def _applies(key: str, target: Target) -> bool:
    """Whether an exception for `key` is for this target: its backend, name, alias, or the first word of its name."""
    return key in {target.backend, target.name, *target.aliases, target.name.partition("-")[0]}
