"""What is asked of a process that makes entries, and the plan in it, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gen3dexport import models
from gen3dexport.documents.recipe import recipe_of
from gen3dexport.documents.record import Record
from gen3dexport.documents.target import Target
from gen3dexport.plan import Plan, make_plan


class Order(Record):
    """What to do with a plan.

    Attributes:
        component: the one to make; none where the plan is only to be checked.
        before: the file of the pipeline's states before it.
        recipe, target, allow_pickle: of the plan, as resolved; schemes, rules, smoothing: what it has of its own.
    """

    component: str
    before: Path
    recipe: dict[str, Any]
    target: dict[str, Any]
    allow_pickle: bool
    schemes: dict[str, str]
    rules: dict[str, dict[str, str]]
    smoothing: dict[str, float]


def order(plan: Plan, component: str = "", before: Path = Path()) -> Order:
    """The order to make a component of a plan, or to check the plan."""
    return Order(
        component=component,
        before=before,
        recipe=plan.recipe.model_dump(mode="json", by_alias=True),
        target=plan.target.model_dump(mode="json"),
        allow_pickle=plan.allow_pickle,
        schemes=plan.schemes,
        rules=plan.rules,
        smoothing=dict(plan.smoothing),
    )


def plan_of(asked: Order) -> Plan:
    """The plan of an order; its components are in the order in which they were sent."""
    family = models.find(asked.recipe["family"])
    plan = make_plan(recipe_of(asked.recipe, family.Knobs), Target.model_validate(asked.target), asked.allow_pickle)
    own: Mapping[str, Any] = {"schemes": asked.schemes, "rules": asked.rules, "smoothing": asked.smoothing}
    return replace(plan, **own)
