"""What was observed of a component, kept in the stage cache for every target and scheme that it is built for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from gen3dexport import models
from gen3dexport.bundle import golden, stage_cache
from gen3dexport.bundle.golden import Call, Trajectories
from gen3dexport.making.keys import STATES, golden_states, of_model, states_after
from gen3dexport.models.component import Component
from gen3dexport.models.declaration import State
from gen3dexport.models.ranges import Ranges, Rounding
from gen3dexport.observe import Observation, observe, with_example
from gen3dexport.plan import Plan

_FACTS = "facts.json"


def observed(plan: Plan, name: str, states: list[State], component: Component) -> tuple[Observation, Path]:
    """The observation of a component on the plan's prompts, made once, whatever it is built for; and its entry, which
    has the states after the component (`keys.states_after`).

    Args:
        states: the pipeline's before the component, one a prompt.
        component: in float32.
    """
    declared = plan.declared[name]
    before = golden_states(plan, states)
    key = stage_cache.key({"observed": of_model(plan, name, states)}, models.package(plan.recipe.family))
    with stage_cache.making(key):
        there = stage_cache.find(key)
        if there is not None:
            return _read(there, plan, component), there
        made = observe(component, declared, before, plan.recipe.golden.assets, states[len(before) :])
        with stage_cache.writing(key) as entry:
            _write(entry, made)
    return made, stage_cache.folder() / key


def _write(entry: Path, made: Observation) -> None:
    name = made.component.name
    golden.write_calls(entry, name, [Call(inputs, outputs) for inputs, outputs in made.calls])
    golden.write_states(entry / STATES, (*made.states, *made.calibrated))
    loop = made.component.loop
    if made.trajectories and loop is not None:
        golden.write_trajectories(entry, name, Trajectories(loop.state, loop.time, made.trajectories))
    ranges = {layer: asdict(found) for layer, found in made.component.ranges.items()}
    facts = {"names": [list(kept) for kept in made.calls[0]], "count": made.count, "ranges": ranges}
    (entry / _FACTS).write_text(json.dumps(facts), encoding="utf-8")


def _read(entry: Path, plan: Plan, component: Component) -> Observation:
    name, declared = component.name, plan.declared[component.name]
    facts = json.loads((entry / _FACTS).read_text(encoding="utf-8"))
    inputs, outputs = facts["names"]  # a network takes its inputs by their places
    calls = tuple(
        ({key: call.inputs[key] for key in inputs}, {key: call.fp32[key] for key in outputs})
        for call in golden.read_calls(entry, name)
    )
    states = states_after(entry)
    after = golden_states(plan, states)
    trajectories = golden.read_trajectories(entry, name)
    made = with_example(component, declared, calls[0][0])
    return Observation(
        component=replace(made, ranges={layer: _ranges(found) for layer, found in facts["ranges"].items()}),
        calls=calls,
        count=facts["count"],
        states=tuple(after),
        calibrated=tuple(states[len(after) :]),
        trajectories=() if trajectories is None else trajectories.latents,
        rows=declared.rows(after[0]),
    )


def _ranges(found: Mapping[str, Any]) -> Ranges:
    return Ranges(Rounding(**found["input"]), Rounding(**found["output"]))
