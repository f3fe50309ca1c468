"""What a plan would build: parameters, bytes, expected memory and operators, from shapes alone (no weight is read)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch

from gen3dexport.errors import UsageError
from gen3dexport.export import Captured
from gen3dexport.models.component import Component
from gen3dexport.networks.checkpoints import headers_alone
from gen3dexport.plan import Plan
from gen3dexport.quantization.quantize import check_takes, convolutions
from gen3dexport.quantization.rules import exceptions
from gen3dexport.quantization.schemes import SCHEMES
from gen3dexport.quantization.smoothing import pairs


def describe(plan: Plan) -> dict[str, Any]:
    """A JSON-able description of a plan; sizes are estimated from shapes, and say so."""
    # All are made before the first one's operators are looked at, which takes seconds: a wrong configuration is told.
    made = {name: plan.declared[name].load(plan.weights, "shapes") for name in plan.schemes}
    for name, scheme in plan.schemes.items():
        check_takes(made[name], scheme, ruled=name in plan.rules)
    rows = [_row(made[name], scheme, plan) for name, scheme in plan.schemes.items()]
    return {
        "recipe": plan.recipe.name,
        "target": plan.target.name,
        "backend": plan.target.backend,
        "device": plan.target.device,
        "missing": plan.backend.check(plan.options),
        "components": rows,
        "left_out": list(plan.settings.left_out),
        "parameters": sum(r["parameters"] for r in rows),
        "bytes": sum(r["bytes"] for r in rows),
        "expected_peak_bytes": max(r["expected_peak_bytes"] for r in rows),
        "basis": "estimated",
        "by": "shapes: float32 weights, the lowered copy, and twice the largest activation",
    }


def check_checkpoints(plan: Plan) -> dict[str, int]:
    """Check that every component's configuration makes a network, that its scheme takes something of it, and that its
    weights are there and fit: by the headers of their files, before minutes of work on the first one. Values are looked
    at when they are read.

    Returns:
        component -> its parameters; without those of families that compute with the values of their weights.

    Raises:
        UsageError: with the problem of every component that has one.
    """
    problems, parameters = [], {}
    for name, declared in plan.declared.items():
        try:
            if plan.recipe.random_weights:
                component = declared.load(plan.weights, "shapes")
            else:
                with headers_alone():
                    component = declared.load(plan.weights, "stored", plan.reading)
            check_takes(component, plan.schemes[name], ruled=name in plan.rules)
            parameters[name] = component.parameters
        except UsageError as error:
            problems += [line for line in str(error).splitlines() if line not in problems]
        except (NotImplementedError, RuntimeError):
            continue  # a family that computes with the values of its weights: it is told when they are read
    if problems:
        raise UsageError.of(problems)
    return parameters


def check_rules(plan: Plan) -> None:
    """Check every rule of a plan, and what it smooths, against its component's shapes, before any weight is read.

    Raises:
        UsageError: with every rule that matches nothing, and every component that has nothing to smooth.
    """
    problems = []
    for name, rules in plan.rules.items():
        component = plan.declared[name].load(plan.weights, "shapes")
        try:
            exceptions(component, rules)
        except UsageError as error:
            problems += [f"recipe {plan.recipe.name}: {line}" for line in str(error).splitlines()]
    for name in plan.smoothing:
        if not pairs(plan.declared[name].load(plan.weights, "shapes")):
            problems.append(
                f"recipe {plan.recipe.name}: components.{name}.smoothing: it has no norm that linear layers alone "
                "read; leave smoothing out"
            )
    if problems:
        raise UsageError.of(problems)


def _row(component: Component, scheme: str, plan: Plan) -> dict[str, Any]:
    """One component: its parameters, bytes, operators and what the target cannot take."""
    operators: Counter[str] = Counter()
    largest = 0
    for graph, times in _graphs(component):
        for node in graph.nodes:
            if node.op == "call_function":
                operators[str(node.target)] += times
            if isinstance(value := node.meta.get("val"), torch.Tensor):
                largest = max(largest, value.numel() * value.element_size())
    rules = plan.rules.get(component.name, {})
    chosen, total = exceptions(component, rules), component.parameters
    size = round(
        sum(
            p.numel() * SCHEMES[_scheme_of(component, name, p, scheme, chosen)].bytes
            for name, p in component.module.named_parameters()
        )
    )
    refused = plan.backend.UNSUPPORTED
    return {
        "name": component.name,
        "scheme": scheme,
        "rules": rules,
        "parameters": total,
        "bytes": size,
        "expected_peak_bytes": 4 * total + size + 2 * largest,
        "inputs": {k: list(v.shape) for k, v in component.inputs.items()},
        "operators": dict(operators.most_common()),
        "unsupported": {op: refused[op] for op in operators if op in refused},
    }


def _graphs(component: Component) -> list[tuple[torch.fx.Graph, int]]:
    """The graphs that a component is made of, with how many times each occurs: blocks alike are captured once, for a
    released network has dozens."""
    captured = Captured(component)
    if (stack := captured.stack) is None:
        return [(captured.whole.graph, 1)]
    return [(stack.before.graph, 1), (stack.block.graph, len(stack.weights)), (stack.after.graph, 1)]


def _scheme_of(component: Component, name: str, parameter: torch.Tensor, scheme: str, chosen: Mapping[str, str]) -> str:
    if parameter.dim() >= 2 and (layer := name.rpartition(".")[0]) in chosen:
        return chosen[layer]
    return scheme if _covered(component, name, parameter, scheme) else "fp32"


def _covered(component: Component, name: str, parameter: torch.Tensor, scheme: str) -> bool:
    """Whether a scheme stores this parameter in its own width: matrices and kernels, in the blocks if there are any."""
    if SCHEMES[scheme].covers == "convolutions":
        return parameter.dim() >= 2 and name.rpartition(".")[0] in convolutions(component)
    return parameter.dim() >= 2 and (component.stack is None or name.startswith(component.stack + "."))
