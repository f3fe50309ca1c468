"""A plan under other sampler knobs, and which fields of a sampler's schedule its family lets a recipe set. No torch."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ValidationError

from gen3dexport.errors import UsageError
from gen3dexport.models.declaration import SamplerKnobs
from gen3dexport.plan import Plan

Knobs = Mapping[str, Any]
"""Dotted path below `knobs` -> value; None takes the knob out of the recipe."""
FIELDS = ("steps", "rescale_t", "step_times", "order", "reuse_guidance", "guidance_interval")
"""Fields of `flow_sampler.Schedule` that decide how often the network is called, and at which times."""


def samplers(plan: Plan) -> dict[str, SamplerKnobs]:
    """The samplers of a plan whose steps its family lets a recipe set, by the component that they call."""
    found = {name: declared.sampler for name, declared in plan.declared.items()}
    return {name: own for name, own in found.items() if own is not None and "steps" in settable(plan, own)}


def settable(plan: Plan, sampler: SamplerKnobs) -> frozenset[str]:
    """The fields of a sampler's schedule that the type of the family's knobs has; without a schedule, its steps."""
    record: Any = type(plan.recipe.knobs)
    for part in sampler.path.split(".") if sampler.path else ():
        record = _record(record.model_fields[part].annotation)
    fields = FIELDS if sampler.schedule is not None else ("steps",)
    return frozenset(name for name in fields if sampler.names.get(name, name) in record.model_fields)


def path_of(sampler: SamplerKnobs, field: str) -> str:
    """Where the knob of a schedule's field stands below `knobs`."""
    name = sampler.names.get(field, field)
    return f"{sampler.path}.{name}" if sampler.path else name


def under(plan: Plan, knobs: Knobs) -> Plan | None:
    """The plan with these knobs on top of its recipe's; None where the family does not take them."""
    if not knobs:
        return plan
    data = plan.recipe.knobs.model_dump(exclude_unset=True)
    for path, value in knobs.items():
        *parents, last = path.split(".")
        node = data
        for part in parents:
            if not isinstance(node.get(part), dict):
                node[part] = {}
            node = node[part]
        node[last] = value
    try:
        made = type(plan.recipe.knobs).model_validate(data)
        recipe = plan.recipe.model_copy(update={"knobs": made})
        settings = plan.family.read_settings(plan.weights, made, recipe.random_weights)
        declared = {one.name: one for one in plan.family.components(settings)}
    except (ValidationError, UsageError):
        return None
    return replace(plan, recipe=recipe, settings=settings, declared=declared)


def text(knobs: Knobs) -> str:
    """Knobs as overrides of a recipe are written: `sampler.steps=3 sampler.reuse_guidance=[1,2]`."""
    return " ".join(f"{path}={_value(value)}" for path, value in knobs.items() if value is not None)


def _value(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"[{','.join(_value(one) for one in value)}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _record(annotation: Any) -> type[BaseModel]:
    """The record of a field that may be none."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        annotation = next(a for a in typing.get_args(annotation) if a is not type(None))
    assert isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation
