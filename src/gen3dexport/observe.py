"""Observe: the float32 eager pipeline, run on the golden prompts, keeps each component's real calls and results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from gen3dexport.bundle.golden import Call
from gen3dexport.models.component import Component
from gen3dexport.models.declaration import Declaration, State
from gen3dexport.quantization.calibration import observing
from gen3dexport.trajectory import trajectory

Arrays = Mapping[str, np.ndarray]


@dataclass
class Eager:
    """A component as a program over NumPy arrays that keeps every call.

    Attributes:
        once: answer every call after the first with the first result (sizes where a whole loop would take an hour).
    """

    component: Component
    once: bool = False
    calls: list[tuple[Arrays, Arrays]] = field(default_factory=list)

    def __call__(self, inputs: Arrays) -> Arrays:
        if self.once and self.calls:
            return self.calls[0][1]
        outputs = run_eager(self.component, inputs)
        self.calls.append((dict(inputs), outputs))
        return outputs


def run_eager(component: Component, inputs: Arrays) -> dict[str, np.ndarray]:
    """Outputs of the component for NumPy inputs, in float32."""
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in inputs.items()}
    with _WideConvolutions():
        return {name: value.float().numpy() for name, value in component.run(tensors).items()}


class _WideConvolutions(TorchFunctionMode):
    """Convolutions in float16 with sums in float32, as a GPU has them; a CPU is slow at torch's own."""

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func not in _CONVOLUTIONS or args[0].dtype != torch.float16:
            return func(*args, **(kwargs or {}))
        wide = (a.float() if isinstance(a, torch.Tensor) else a for a in args)
        return func(*wide, **(kwargs or {})).half()


_CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv3d)


@dataclass(frozen=True)
class Observation:
    """What one component did in the float32 eager pipeline.

    Attributes:
        component: with its example inputs set to the first call's.
        calls: (inputs, outputs) of the first, the middle and the last call of the first golden prompt.
        count: calls that one asset needs.
        rows: of the calls' outputs, along their second axis, that are no padding; None where nothing is padded.
        states: the pipeline's state after this component, per golden prompt.
        calibrated: likewise per calibration prompt.
        trajectories: of a sampler's network, per golden prompt, the latent before each step and after the last; none
            where no whole loop was run.
    """

    component: Component
    calls: tuple[tuple[Arrays, Arrays], ...]
    count: int
    states: tuple[State, ...]
    calibrated: tuple[State, ...] = ()
    trajectories: tuple[np.ndarray, ...] = ()
    rows: int | None = None

    @property
    def inputs(self) -> list[dict[str, torch.Tensor]]:
        """What the kept calls took, by name, in the order of the component's inputs."""
        return [
            {key: torch.from_numpy(np.array(taken[key])) for key in self.component.inputs} for taken, _ in self.calls
        ]


def observe(
    component: Component,
    declared: Declaration,
    states: Sequence[State],
    assets: bool,
    calibration: Sequence[State] = (),
) -> Observation:
    """Run `component`'s part of the pipeline for every golden prompt.

    Args:
        calibration: states of further prompts, whose calls give the ranges of the component's convolutions.
    """
    first: Eager | None = None
    after, trajectories = [], []
    for state in states:
        eager = Eager(component, once=not assets)
        after.append(declared.advance(state, eager, np))
        first = first or eager
        if component.loop is not None and declared.loop is not None and assets:
            final = declared.loop.output(after[-1])
            taken = [inputs for inputs, _ in eager.calls]
            trajectories.append(trajectory(taken, component.loop.state, component.loop.time, final))
    assert first is not None and first.calls, f"{component.name} was not called by its pipeline"
    calls = [first.calls[i] for i in sorted({0, len(first.calls) // 2, len(first.calls) - 1})]
    made = with_example(component, declared, calls[0][0])
    calibrated = []
    if calibration:
        with observing(component) as observed:
            for state in calibration:
                eager = Eager(component, once=not assets)
                calibrated.append(declared.advance(state, eager, np))
        made = replace(made, ranges=observed.ranges())
    return Observation(
        component=made,
        calls=tuple(calls),
        count=len(first.calls),
        states=tuple(after),
        calibrated=tuple(calibrated),
        trajectories=tuple(trajectories),
        rows=declared.rows(after[0]),
    )


def with_example(component: Component, declared: Declaration, inputs: Arrays) -> Component:
    """The component with a call's inputs as its example; they are copied, so that their strides are plain."""
    return component.with_inputs({name: torch.from_numpy(np.array(inputs[name])) for name in declared.inputs})


def golden_calls(observation: Observation, quantized: Component | None) -> list[Call]:
    """The kept calls of a component, with what the quantized one gives; outputs have their real rows alone.

    Args:
        quantized: None where nothing of the component is: it gives the same once more.
    """

    def real(outputs: Arrays) -> dict[str, np.ndarray]:
        return {name: without_padding(value, observation.rows) for name, value in outputs.items()}

    return [
        Call(inputs, real(outputs), real(outputs if quantized is None else run_eager(quantized, inputs)))
        for inputs, outputs in observation.calls
    ]


def without_padding(output: np.ndarray, rows: int | None) -> np.ndarray:
    """The first `rows` rows of an output [B, T, ...]; all of them where nothing is padded (None)."""
    return output if rows is None else output[:, :rows]


def golden_loop(quantized: Component, declared: Declaration, before: State, after: State | None) -> Call:
    """The call of a sampler loop as one program.

    Args:
        after: the float32 pipeline's state after the loop; None where no whole loop was run, then inputs alone.
    """
    assert declared.loop is not None and quantized.loop is not None
    inputs, state = declared.loop.inputs(before, np), quantized.loop.state
    if after is None:
        return Call(inputs)
    own = declared.advance(before, Eager(quantized), np)
    return Call(inputs, {state: declared.loop.output(after)}, {state: declared.loop.output(own)})
