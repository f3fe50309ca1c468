"""The operations of a pipeline's host steps, version 1; docs/host-steps.md says what each computes. No NumPy.

An operation writes named values: row-major arrays of float32 or int64. Operations run in their order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from gen3dexport.documents.record import Record

Value = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]
"""Name of a value."""
Port = Annotated[str, Field(pattern=r"^\w+$", max_length=100)]
"""Name of a program's input or output."""
Number = Annotated[float, Field(allow_inf_nan=False)]

LARGEST = 2**28
"""Numbers in one array that the application gives or a step fills."""


def _fits_memory(shape: tuple[int, ...]) -> tuple[int, ...]:
    if math.prod(shape) > LARGEST:
        raise ValueError(f"{list(shape)} has more than {LARGEST} numbers")
    return shape


Shape = Annotated[
    tuple[Annotated[int, Field(ge=1, le=2**20)], ...], Field(min_length=1, max_length=8), AfterValidator(_fits_memory)
]


class Requested(Record):
    """What an application gives.

    Attributes:
        prompt, image, seed: whether it gives a text, a picture, the noise's seed.
        features: shape of the condition features that it gives, or None.
    """

    prompt: bool = False
    image: bool = False
    seed: bool = False
    features: Shape | None = None


class Tokenize(Record):
    """A text's tokens.

    Attributes:
        text: the request's `prompt`, or the `empty` text.
        file: the tokenizer in the bundle, in the tokenizers library's format.
        length: tokens of a row.
        fill: what follows a text's tokens: `zeros`, or its last token (`end`) again and again.
        overflow: whether a text with more tokens is refused, or `cut` so that the last token stays the last.
        ids: int64 [1, length]; mask: int64 [1, length], 1 where a token of the text is, or None where nothing takes it.
    """

    op: Literal["tokenize"] = "tokenize"
    text: Literal["prompt", "empty"]
    file: Annotated[str, Field(pattern=r"^host/\w[\w.-]*$", max_length=105)]
    length: Annotated[int, Field(ge=2, le=2**16)]
    fill: Literal["zeros", "end"]
    overflow: Literal["refuse", "cut"]
    ids: Value
    mask: Value | None = None


class Noise(Record):
    """Standard normal float32 numbers; the request's generator is seeded once, and every noise goes on where it stands.

    Attributes:
        generator: PCG64 seeded by a SeedSequence, and the ziggurat in float32: numpy.random.default_rng(seed).
    """

    op: Literal["noise"] = "noise"
    generator: Literal["pcg64-ziggurat-float32"] = "pcg64-ziggurat-float32"
    shape: Shape
    output: Value


class Zeros(Record):
    """Float32 zeros."""

    op: Literal["zeros"] = "zeros"
    shape: Shape
    output: Value


class Constant(Record):
    """Float32 numbers that the settings determine.

    Attributes:
        numbers: in row-major order.
    """

    op: Literal["constant"] = "constant"
    shape: Shape
    numbers: tuple[Number, ...] = Field(max_length=2**14)
    output: Value

    @model_validator(mode="after")
    def _fill_the_shape(self) -> Self:
        if len(self.numbers) != math.prod(self.shape):
            raise ValueError(f"numbers: {len(self.numbers)} of them, and the shape is {list(self.shape)}")
        return self


class Scale(Record):
    """A value times a number.

    Attributes:
        value: what is scaled.
    """

    op: Literal["scale"] = "scale"
    value: Value
    factor: Number
    output: Value


class Features(Record):
    """Given condition features, float32 [1, L, C].

    Attributes:
        row: which of [2, L, C] they are; None where [L, C] are given.
    """

    op: Literal["features"] = "features"
    row: Literal[0, 1] | None = None
    output: Value


class CallProgram(Record):
    """One call of a component's program.

    Attributes:
        inputs: value by the program's input; outputs: value by the program's output.
    """

    op: Literal["call"] = "call"
    component: str
    inputs: dict[Port, Value] = Field(min_length=1)
    outputs: dict[Port, Value] = Field(min_length=1)


class FlowStep(Record):
    """One step of a sampler.

    Attributes:
        time: what the network is told, in its own unit.
        dt: how far the latent moves along the velocity: t before the step less t after it.
        weight: w in v = w * conditional - (w - 1) * unconditional; at 1 the conditional branch is called alone.
        reuse: that it is called alone at another weight, too: v = conditional + (w - 1) * difference, where the
            difference, conditional - unconditional, is that of the last step that called both.
        previous: p in direction = (1 + p) * v - p * v of the step before; at 0 the direction is v.
    """

    time: Number
    dt: Number
    weight: Number
    reuse: bool = False
    previous: Number = 0.0


class OneProgram(Record):
    """The sampler loop as the program of role `sampler` takes and gives it."""

    inputs: dict[Port, Value]
    outputs: dict[Port, Value]


class FlowEuler(Record):
    """A flow's sampler loop with guidance: x = x - dt * direction for every step.

    Attributes:
        noise: value that x begins with; output: value of x after the last step.
        latent_input, time_input, velocity_output: names at the program.
        batch: 2 where one call takes both branches (conditional first); 1 where each is a call of its own.
        inputs: further inputs of every call, the same for both branches.
        conditional, unconditional: value by input, of either branch.
        join: with batch 2, along which axis the two branches' values of an input are joined.
        sampler: inputs and outputs of the component's program of role `sampler`, in a bundle that has one; that
            program may run in place of the steps.
    """

    op: Literal["flow_euler"] = "flow_euler"
    component: str
    noise: Value
    latent_input: Port
    time_input: Port
    velocity_output: Port
    batch: Literal[1, 2] = 1
    inputs: dict[Port, Value] = {}
    conditional: dict[Port, Value] = Field(min_length=1)
    unconditional: dict[Port, Value] = Field(min_length=1)
    join: dict[Port, Annotated[int, Field(ge=0, le=8)]] = {}
    steps: tuple[FlowStep, ...] = Field(min_length=1, max_length=1000)
    output: Value
    sampler: OneProgram | None = None

    @model_validator(mode="after")
    def _branches_are_alike(self) -> Self:
        if set(self.conditional) != set(self.unconditional):
            raise ValueError("conditional and unconditional: need the same inputs")
        made = False
        for number, step in enumerate(self.steps):
            if step.reuse and not made:
                raise ValueError(f"steps.{number}: reuses a difference, and no step before it makes one")
            if step.previous and not number:
                raise ValueError("steps.0: takes the velocity before, and there is none")
            made = made or (step.weight != 1 and not step.reuse)
        if set(self.join) != (set(self.conditional) if self.batch == 2 else set()):
            raise ValueError("join: needs an axis for each input of a branch where batch is 2, and none where it is 1")
        return self


Operation = Tokenize | Noise | Zeros | Constant | Scale | Features | CallProgram | FlowEuler

OPERATIONS: Mapping[str, type[Record]] = {
    model.model_fields["op"].default: model
    for model in (Tokenize, Noise, Zeros, Constant, Scale, Features, CallProgram, FlowEuler)
}
"""The operations by name."""


def makes(step: Operation) -> tuple[str, ...]:
    """Values that an operation writes."""
    match step:
        case Tokenize():
            return (step.ids,) if step.mask is None else (step.ids, step.mask)
        case CallProgram():
            return tuple(step.outputs.values())
        case _:
            return (step.output,)


def takes(step: Operation) -> tuple[str, ...]:
    """Values that an operation reads."""
    match step:
        case Scale():
            return (step.value,)
        case CallProgram():
            return tuple(step.inputs.values())
        case FlowEuler():
            whole = {} if step.sampler is None else step.sampler.inputs
            parts = (step.inputs, step.conditional, step.unconditional, whole)
            return (step.noise, *(value for part in parts for value in part.values()))
        case _:
            return ()


class Positive(Record):
    """Voxels: occupied where the value, [R, R, R] with leading axes of 1, is above 0."""

    rule: Literal["positive"] = "positive"
    value: Value


class MarchingCubes(Record):
    """A mesh: the surface where the value, [R, R, R] with leading axes of 1, crosses `level`."""

    rule: Literal["marching_cubes_lorensen"] = "marching_cubes_lorensen"
    value: Value
    level: Number = 0.0


class SinhHeights(Record):
    """A height field of the value, [H, W] with leading axes of 1, whose numbers are fine near the ground.

    Attributes:
        knee: height up to which numbers are about linear in it; span: inverse hyperbolic sine of `highest` / `knee`;
            highest: the greatest height. extent: edge of the field in the same unit.
    """

    rule: Literal["sinh_heights"] = "sinh_heights"
    value: Value
    knee: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    span: Annotated[float, Field(gt=0, le=100)]
    highest: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    extent: Annotated[float, Field(gt=0, allow_inf_nan=False)]


Rule = Positive | MarchingCubes | SinhHeights

RULES: Mapping[str, type[Record]] = {
    model.model_fields["rule"].default: model for model in (Positive, MarchingCubes, SinhHeights)
}
"""How assets are made of values, by name."""


class HostSteps(Record):
    """A pipeline from a request to its assets.

    Attributes:
        request: what the application gives.
        steps: the operations, in their order.
        assets: how each kind of asset is made of values.
    """

    version: Literal[1] = 1
    request: Requested
    steps: tuple[Annotated[Operation, Field(discriminator="op")], ...] = Field(min_length=1, max_length=1000)
    assets: dict[str, Annotated[Rule, Field(discriminator="rule")]] = Field(min_length=1)

    @model_validator(mode="after")
    def _values_are_made_before_they_are_read(self) -> Self:
        problems, made = [], set[str]()
        for number, step in enumerate(self.steps):
            problems += [
                f"steps.{number}: {value!r} is read before it is made" for value in takes(step) if value not in made
            ]
            problems += [f"steps.{number}: {value!r} is made twice" for value in makes(step) if value in made]
            made |= set(makes(step))
            problems += [f"steps.{number}: {problem}" for problem in self._unasked(step)]
        lacking = {kind: rule.value for kind, rule in self.assets.items() if rule.value not in made}
        problems += [f"assets.{kind}: no step makes {value!r}" for kind, value in lacking.items()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _unasked(self, step: Operation) -> Iterator[str]:
        """What a step needs of the application and the request does not say."""
        asked = self.request
        if isinstance(step, Tokenize) and step.text == "prompt" and not asked.prompt:
            yield "needs the prompt, and request.prompt is false"
        if isinstance(step, Noise) and not asked.seed:
            yield "needs the seed, and request.seed is false"
        if isinstance(step, Features):
            axes = 2 if step.row is None else 3
            if asked.features is None or len(asked.features) != axes or (axes == 3 and asked.features[0] != 2):
                yield f"needs features {'[L, C]' if step.row is None else '[2, L, C]'}, and request.features is another"
