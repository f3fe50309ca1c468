"""Trials: the eager pipeline with some layers quantized, against the float32 one. Nothing is lowered."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from gen3dexport.assets import kinds
from gen3dexport.assets.score import Score, loss
from gen3dexport.build import first_states
from gen3dexport.disk import scratch
from gen3dexport.documents.recipe import ComponentChoice
from gen3dexport.errors import AccuracyError, UsageError
from gen3dexport.models.component import Component
from gen3dexport.models.declaration import State
from gen3dexport.observe import Eager, Observation, observe, run_eager
from gen3dexport.plan import Plan
from gen3dexport.quantization.calibration import CONVOLUTIONS
from gen3dexport.quantization.rules import generic, layers_of, quantize_by_rules
from gen3dexport.quantization.schemes import CALIBRATED, OF_EMBEDDINGS, SCHEMES
from gen3dexport.quantization.smoothing import smoothed
from gen3dexport.search.held_out import calibrates

Rules = Mapping[str, str]
Assets = Mapping[str, Any]
"""One prompt's assets by kind."""
Scorers = Mapping[str, Callable[[Any], Sequence[Score]]]


@dataclass(frozen=True)
class Choice:
    """What one component is quantized to: a scheme, and exceptions by pattern."""

    scheme: str = "fp32"
    rules: tuple[tuple[str, str], ...] = ()


def choices_of(components: Mapping[str, ComponentChoice]) -> dict[str, Choice]:
    """A recipe's choices for components, as those of trials."""
    return {name: Choice(own.scheme or "fp32", tuple(own.rules.items())) for name, own in components.items()}


class Trials:
    """The observed float32 pipeline of a plan, to try quantizations on.

    Args:
        on_stage: called with (component, "load") and (component, "observe").
        held_out: prompts beside the golden ones; no trial is judged by them but where it is asked (`held_out`).

    Raises:
        UsageError: when the recipe makes no assets (random weights, or `golden.assets` is off).
    """

    def __init__(
        self,
        plan: Plan,
        on_stage: Callable[[str, str], None] = lambda component, stage: None,
        held_out: Sequence[str] = (),
    ) -> None:
        if plan.recipe.random_weights or not plan.recipe.golden.assets:
            why = "has random weights" if plan.recipe.random_weights else "makes no assets (golden.assets is off)"
            raise UsageError(f"recipe {plan.recipe.name}: {why}, so there is no loss to measure")
        self.plan = plan
        self.observations: dict[str, Observation] = {}
        self.before: dict[str, tuple[State, ...]] = {}
        with scratch() as place:
            begun = first_states(with_prompts(plan, held_out), place, calibrates(plan))
        count = len(plan.recipe.golden.prompts)
        states, held = tuple(begun[:count]), tuple(begun[count : count + len(held_out)])
        others = tuple(begun[count + len(held_out) :])
        self.held_before: dict[str, tuple[State, ...]] = {}
        self.resampled: frozenset[str] = frozenset()
        for name in plan.schemes:
            on_stage(name, "load")
            component = plan.declared[name].load(plan.weights, "stored", plan.reading)
            on_stage(name, "observe")
            self.before[name] = states
            self.observations[name] = observe(component, plan.declared[name], states, True, others)
            states, others = self.observations[name].states, self.observations[name].calibrated
            self.held_before[name] = held
            held = tuple(plan.declared[name].advance(state, Eager(component), np) for state in held)
        self.assets: list[Assets] | None = [plan.family.make_assets(state, plan.settings) for state in states]
        self._scores = _scorers(self.assets)
        self._held_scores = _scorers([plan.family.make_assets(state, plan.settings) for state in held])
        self._tried: dict[tuple[str, Choice], Component] = {}

    def under(self, plan: Plan) -> Trials:
        """These trials under other sampler settings; a loss is still one against the assets of these settings.

        Args:
            plan: this plan with other knobs of its samplers.
        """
        other = copy.copy(self)
        other.plan, other._tried = plan, {}
        changed = [n for n in plan.schemes if plan.declared[n].sampler != self.plan.declared[n].sampler]
        other.resampled = self.resampled | {*changed}
        if not changed:
            return other
        other.observations, other.before = dict(self.observations), dict(self.before)
        states = self.before[changed[0]]
        try:
            for name in list(plan.schemes)[list(plan.schemes).index(changed[0]) :]:
                own, declared = self.observations[name].component, plan.declared[name]
                if name in changed:  # what it has of the sampler's times is made when it is loaded
                    own = replace(declared.load(plan.weights, "stored", plan.reading), ranges=own.ranges)
                other.before[name] = states
                other.observations[name] = observe(own, declared, states, True)
                states = other.observations[name].states
            other.assets = [plan.family.make_assets(state, plan.settings) for state in states]
        except (AccuracyError, UsageError):  # nothing came of it, or more than the programs have room for
            other.assets = None
        return other

    def quantized(self, name: str, choice: Choice) -> Component:
        """A quantized copy of a component; the last one of each component is kept.

        Raises:
            UsageError: when the target refuses the choice.
        """
        if choice == Choice():
            return self.observations[name].component
        if (name, choice) not in self._tried:
            own = self.observations[name].component
            twin = replace(own, module=copy.deepcopy(own.module))
            backend, options = self.plan.backend, self.plan.options
            rules, strength = dict(choice.rules), self.plan.smoothing.get(name)
            twin = smoothed(twin, choice.scheme, rules, strength, self.observations[name].inputs)
            made = quantize_by_rules(backend, twin, choice.scheme, rules, options)
            self._tried = {key: kept for key, kept in self._tried.items() if key[0] != name}
            self._tried[name, choice] = made
        return self._tried[name, choice]

    def snr_db(self, name: str, choice: Choice) -> float:
        """Signal to noise of the component's outputs over its observed calls: 10 log10(|float32|^2 / |error|^2)."""
        component = self.quantized(name, choice)
        signal = noise = 0.0
        for inputs, outputs in self.observations[name].calls:
            found = run_eager(component, inputs)
            for key, expected in outputs.items():
                signal += float(np.square(expected, dtype=np.float64).sum())
                noise += float(np.square(found[key].astype(np.float64) - expected).sum())
        return math.inf if noise == 0 else 10 * math.log10(signal / noise) if noise < math.inf else -math.inf

    def loss(self, choices: Mapping[str, Choice]) -> float:
        """Mean loss of the golden prompts' assets against the float32 ones (`assets.score.loss`); infinite where one is
        not made of finite numbers."""
        changed = [name for name in self.plan.schemes if choices.get(name, Choice()) != Choice()]
        if self.assets is None:  # under these settings nothing is made in float32
            return math.inf
        if not changed:
            return _lost(self.assets, self._scores) if self.resampled else 0.0
        return _lost(self._made(choices, changed[0], self.before[changed[0]]), self._scores)

    def held_out(self, choices: Mapping[str, Choice]) -> float | None:
        """Likewise of the held-out prompts' assets; None where there are none."""
        changed = [n for n in self.plan.schemes if choices.get(n, Choice()) != Choice() or n in self.resampled]
        if not self._held_scores or not changed:
            return 0.0 if self._held_scores else None
        return _lost(self._made(choices, changed[0], self.held_before[changed[0]]), self._held_scores)

    def losses(self, made: Sequence[Assets]) -> tuple[float, float | None]:
        """Mean losses of given assets of all prompts, the golden ones' first, then those of the held-out ones."""
        count = len(self._scores)
        held = _lost(made[count:], self._held_scores) if self._held_scores else None
        return _lost(made[:count], self._scores), held

    def _made(self, choices: Mapping[str, Choice], start: str, states: Sequence[State]) -> list[Assets] | None:
        """Assets of states before the component `start`; None where nothing comes of one."""
        names = list(self.plan.schemes)
        for name in names[names.index(start) :]:
            program = Eager(self.quantized(name, choices.get(name, Choice())))
            try:
                states = [self.plan.declared[name].advance(state, program, np) for state in states]
            except (AccuracyError, UsageError):
                return None
        try:
            return [self.plan.family.make_assets(state, self.plan.settings) for state in states]
        except AccuracyError:
            return None

    def bytes(self, name: str, choice: Choice) -> int:
        """Bytes of a component's weights as they are stored."""
        return stored_bytes(self.quantized(name, choice).module)

    def groups(self, name: str, scheme: str) -> dict[str, list[str]]:
        """Layers that `scheme` could take, by pattern: a layer of a repeated block stands for all its twins."""
        component = self.observations[name].component
        linear = (nn.Linear,) if SCHEMES[scheme].covers == "linears" else (nn.Linear, *CONVOLUTIONS)
        taken: tuple[type[nn.Module], ...] = CONVOLUTIONS if scheme in CALIBRATED else linear
        taken += (nn.Embedding,) if scheme in OF_EMBEDDINGS else ()
        found: dict[str, list[str]] = {}
        for layer in layers_of(component):
            if isinstance(component.module.get_submodule(layer), taken):
                found.setdefault(generic(component, layer), []).append(layer)
        return found


def with_prompts(plan: Plan, held_out: Sequence[str]) -> Plan:
    """The plan with held-out prompts behind its golden ones."""
    if not held_out:
        return plan
    golden = plan.recipe.golden
    asked = golden.model_copy(update={"prompts": (*golden.prompts, *held_out)})
    return replace(plan, recipe=plan.recipe.model_copy(update={"golden": asked}))


def _scorers(assets: Sequence[Assets]) -> list[Scorers]:
    return [{kind: kinds.against(asset) for kind, asset in made.items()} for made in assets]


def _lost(found: Sequence[Assets] | None, references: Sequence[Scorers]) -> float:
    if found is None:
        return math.inf
    pairs = zip(found, references, strict=True)
    losses = [loss({kind: scores[kind](asset) for kind, asset in made.items()}) for made, scores in pairs]
    return sum(losses) / len(losses)


def stored_bytes(module: nn.Module) -> int:
    """Bytes of every parameter and buffer, quantized tensors as their integers, scales and zero points."""
    return sum(_bytes(tensor) for tensor in (*module.parameters(), *module.buffers()))


def _bytes(tensor: Any) -> int:
    if hasattr(tensor, "__tensor_flatten__"):
        return sum(_bytes(getattr(tensor, name)) for name in tensor.__tensor_flatten__()[0])
    size: int = tensor.numel() * tensor.element_size()
    state = getattr(tensor, "quant_state", None)  # bitsandbytes keeps a weight's scales beside it
    return size if state is None else size + _bytes(state.absmax)
