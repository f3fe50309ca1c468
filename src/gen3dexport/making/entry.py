"""One component's entry of the stage cache: load, observe, quantize, export and lower."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from gen3dexport.bundle import golden, stage_cache
from gen3dexport.bundle.golden import Trajectories
from gen3dexport.bundle.program import Lowered, program_record, specs
from gen3dexport.export import Captured
from gen3dexport.making.keys import STATES, key
from gen3dexport.making.observations import observed
from gen3dexport.making.start import OnStage
from gen3dexport.models.declaration import State, Weights
from gen3dexport.observe import Observation, golden_calls, golden_loop
from gen3dexport.plan import Plan
from gen3dexport.quantization.rules import quantize_by_rules
from gen3dexport.quantization.smoothing import smoothed

OnStates = Callable[[Path], None]


def made(
    plan: Plan,
    name: str,
    states: list[State],
    on_stage: OnStage = lambda component, stage: None,
    on_states: OnStates = lambda entry: None,
) -> Path:
    """The entry of one component, made if it is not there.

    Args:
        states: the pipeline's before the component, one a prompt.
        on_states: called as soon as those after it are known, with the folder that has them (`keys.states_after`); not
            where the entry is there.
    """
    own = key(plan, name, states)
    with stage_cache.making(own, lambda: on_stage(name, "wait")):
        there = stage_cache.find(own)
        if there is not None:
            on_stage(name, "cached")
        else:
            with stage_cache.writing(own) as entry:
                _make(plan, name, states, on_stage, on_states, entry)
    on_stage(name, "done")
    return stage_cache.folder() / own


def _make(plan: Plan, name: str, states: list[State], on_stage: OnStage, on_states: OnStates, entry: Path) -> None:
    """One component through every stage, into the folder of its entry."""
    on_stage(name, "load")
    weights: Weights = "random" if plan.recipe.random_weights else "stored"
    component = plan.declared[name].load(plan.weights, weights, plan.reading)
    parameters = component.parameters
    on_stage(name, "observe")  # before quantize, which works in place
    observation, kept_at = observed(plan, name, states, component)
    on_states(kept_at)
    observation = replace(observation, states=observation.states[:1], calibrated=())  # all lie in that entry
    on_stage(name, "quantize")
    rules = plan.rules.get(name, {})
    scheme, strength = plan.schemes[name], plan.smoothing.get(name)
    component = smoothed(observation.component, scheme, rules, strength, observation.inputs)
    component = quantize_by_rules(plan.backend, component, scheme, rules, plan.options)
    (kept := entry / golden.FOLDER).mkdir()
    as_it_was = scheme == "fp32" and not rules and strength is None
    golden.write_calls(kept, name, golden_calls(observation, None if as_it_was else component))
    if observation.trajectories and (loop := component.loop) is not None:
        golden.write_trajectories(kept, name, Trajectories(loop.state, loop.time, observation.trajectories))
    on_stage(name, "lower")
    (entry / "programs").mkdir()
    lowered = plan.backend.lower(Captured(component), plan.options, entry / "programs")
    said: dict[str, Any] = {"rules": rules} if rules else {}
    if strength is not None:
        said["smoothing"] = strength
    lowered = replace(lowered, facts={**said, **lowered.facts})
    if any(role_of(extra) == "sampler" for extra in lowered.extra):
        after = observation.states[0] if plan.recipe.golden.assets else None
        golden.write_loop(kept, name, golden_loop(component, plan.declared[name], states[0], after))
    _link(kept_at / STATES, entry / STATES)
    _write_entry(entry, observation, lowered, plan.schemes[name], parameters)


def _link(file: Path, place: Path) -> None:
    """One file at two places of the cache, copied where the file system cannot do that; both stay as they are."""
    try:
        os.link(file, place)
    except OSError:
        stage_cache.place(file, place)


def _write_entry(entry: Path, observation: Observation, lowered: Lowered, scheme: str, parameters: int) -> None:
    name, (call, outputs) = observation.component.name, observation.calls[0]
    inputs = {k: call[k] for k in observation.component.inputs}
    own = specs(inputs), specs(outputs)
    records = [program_record(name, lowered, *own, scheme=scheme)]
    for extra, twin in lowered.extra.items():
        records.append(program_record(extra, twin, *own, component=name, role=role_of(extra), scheme=scheme))
    text = json.dumps(
        {
            "component": name,
            "parameters": parameters,
            "calls": observation.count,
            "programs": [r.model_dump(mode="json") for r in records],
        }
    )
    (entry / "entry.json").write_text(text)


def role_of(extra: str) -> Literal["sampler", "twin"]:
    """Role of a further program: the sampler loop as one program, or a twin of the component for the device alone."""
    return "sampler" if extra.endswith("_sampler") else "twin"
