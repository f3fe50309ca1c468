"""The reference interpreter of host steps: a request and programs in, values and assets out. NumPy alone.

It knows no family. Arithmetic is float32, every operation rounded, as docs/host-steps.md says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gen3dexport.assets.height_field import HeightField
from gen3dexport.assets.mesh import Mesh, from_occupancy_logits
from gen3dexport.assets.voxels import Voxels
from gen3dexport.documents.host_steps import (
    CallProgram,
    Constant,
    Features,
    FlowEuler,
    HostSteps,
    MarchingCubes,
    Noise,
    Operation,
    Positive,
    Requested,
    Rule,
    Scale,
    SinhHeights,
    Tokenize,
    Zeros,
)
from gen3dexport.errors import UsageError, VerificationError
from gen3dexport.models import Request
from gen3dexport.models.tokens import tokenize

Arrays = Mapping[str, np.ndarray]
Programs = Callable[[str, Arrays], Arrays]
"""(component, inputs by name) -> outputs by name."""
OnLatent = Callable[[str, int, np.ndarray], None]


def ignore(output: str, step: int, latent: np.ndarray) -> None:
    """An `OnLatent` that keeps nothing."""


def run(
    declared: HostSteps,
    request: Request,
    bundle: Path,
    programs: Programs,
    on_step: Callable[[int, Operation, Arrays], None] = lambda number, step, made: None,
    on_latent: OnLatent = ignore,
) -> dict[str, np.ndarray]:
    """Every value that the steps make, by name.

    Args:
        bundle: folder that the steps' files are relative to.
        programs: calls a component's program.
        on_step: called after every step with its number, the operation and what it made.
        on_latent: called with (value, step, latent) after every step of a sampler.

    Raises:
        UsageError: for a request that the pipeline cannot take.
        VerificationError: when a step does not fit the values or programs that it names.
    """
    _check(declared.request, request)
    rng = np.random.default_rng(request.seed)
    values: dict[str, np.ndarray] = {}
    for number, step in enumerate(declared.steps):
        try:
            made = _made(step, request, values, bundle, programs, rng, on_latent)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            place = f"{bundle}: host_steps.steps.{number} ({step.op})"
            raise VerificationError(f"{place}: does not fit its values: {error}; build the bundle again") from error
        values |= made
        on_step(number, step, made)
    return values


def assets(declared: HostSteps, values: Arrays) -> dict[str, Any]:
    """The assets by kind; one of which there is nothing is empty.

    Raises:
        AccuracyError: when a value is not finite.
        VerificationError: when a value is no grid [R, R, R].
    """
    return {kind: _asset(kind, rule, values[rule.value]) for kind, rule in declared.assets.items()}


def _check(asked: Requested, request: Request) -> None:
    """Refuse a request that lacks something."""
    if asked.prompt and not request.prompt.strip():
        raise UsageError("prompt: empty; say what to make")
    if asked.image and request.image is None:
        raise UsageError("this pipeline is conditioned on an image; give it one, no prompt")
    found = None if request.features is None else list(np.shape(request.features))
    wanted = None if asked.features is None else list(asked.features)
    if found != wanted:
        raise UsageError(f"features: shape {found or 'none'}, and these host steps take {wanted or 'none'}")


def _made(
    step: Operation,
    request: Request,
    values: Arrays,
    bundle: Path,
    programs: Programs,
    rng: np.random.Generator,
    on_latent: OnLatent,
) -> dict[str, np.ndarray]:
    """What one step makes."""
    match step:
        case Tokenize():
            return _tokens(step, request.prompt if step.text == "prompt" else "", bundle)
        case Noise():
            return {step.output: rng.standard_normal(step.shape, dtype=np.float32)}
        case Zeros():
            return {step.output: np.zeros(step.shape, np.float32)}
        case Constant():
            return {step.output: np.array(step.numbers, np.float32).reshape(step.shape)}
        case Scale():
            return {step.output: np.float32(step.factor) * values[step.value]}
        case Features():
            given = np.asarray(request.features, np.float32)
            return {step.output: (given if step.row is None else given[step.row])[None]}
        case CallProgram():
            answer = programs(step.component, {name: values[value] for name, value in step.inputs.items()})
            return {value: answer[name] for name, value in step.outputs.items()}
        case FlowEuler():
            return {step.output: _flow(step, values, programs, on_latent)}


def _tokens(step: Tokenize, text: str, bundle: Path) -> dict[str, np.ndarray]:
    ids, mask = tokenize(text, step.length, bundle / step.file, step.fill, step.overflow)
    return {step.ids: ids} if step.mask is None else {step.ids: ids, step.mask: mask}


def _flow(step: FlowEuler, values: Arrays, programs: Programs, on_latent: OnLatent) -> np.ndarray:
    """The latent after the last step."""
    shared = {name: values[value] for name, value in step.inputs.items()}
    branches = [
        {name: values[value] for name, value in branch.items()} for branch in (step.conditional, step.unconditional)
    ]

    def call(x: np.ndarray, time: float, conditions: Arrays) -> np.ndarray:
        times = np.full(len(x), np.float32(time), np.float32)
        inputs = {step.latent_input: x, step.time_input: times, **shared, **conditions}
        return programs(step.component, inputs)[step.velocity_output]

    def joined(first: Arrays, second: Arrays) -> Arrays:
        return {name: np.concatenate([first[name], second[name]], axis) for name, axis in step.join.items()}

    def velocities(x: np.ndarray, time: float, guided: bool) -> tuple[np.ndarray, ...]:
        """Of the conditional branch, and of the other where there is guidance."""
        taken = branches if guided else branches[:1]
        if step.batch == 1:
            return tuple(call(x, time, branch) for branch in taken)
        v = call(np.concatenate([x, x]), time, joined(taken[0], taken[-1]))
        return (v[:1], v[1:]) if guided else (v[:1],)

    x = values[step.noise]
    for number, euler in enumerate(step.steps):
        conditional, *other = velocities(x, euler.time, euler.weight != 1)
        v = conditional
        if other:
            v = np.float32(euler.weight) * conditional - np.float32(euler.weight - 1) * other[0]
        x = x - np.float32(euler.dt) * v
        on_latent(step.output, number, x)
    return x


def _asset(kind: str, rule: Rule, value: np.ndarray) -> Any:
    match rule:
        case Positive():
            return Voxels(_cube(kind, rule, value) > 0)
        case MarchingCubes():
            grid = _cube(kind, rule, value)
            if not (grid > np.float32(rule.level)).any():
                return Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64))
            return from_occupancy_logits(grid, rule.level)
        case SinhHeights():
            grid = _last_axes(kind, rule, value, 2).astype(np.float64)
            raised = np.clip(rule.knee * np.sinh((grid + 1) / 2 * rule.span), 0, rule.highest)
            heights = (raised - raised.min()).astype(np.float32)
            return HeightField(heights / np.float32(rule.extent))


def _cube(kind: str, rule: Rule, value: np.ndarray) -> np.ndarray:
    grid = _last_axes(kind, rule, value, 3)
    if len({*grid.shape}) != 1:
        raise _misshapen(kind, rule, value, "a cube [R, R, R]")
    return grid


def _last_axes(kind: str, rule: Rule, value: np.ndarray, count: int) -> np.ndarray:
    """A value without the axes of 1 before its last ones."""
    if value.ndim < count or any(length != 1 for length in value.shape[:-count]):
        raise _misshapen(kind, rule, value, f"{count} axes")
    return value.reshape(value.shape[-count:])


def _misshapen(kind: str, rule: Rule, value: np.ndarray, taken: str) -> VerificationError:
    return VerificationError(
        f"host_steps.assets.{kind}: {rule.value!r} has shape {list(value.shape)}, and {rule.rule} takes {taken}; build "
        "the bundle again"
    )
