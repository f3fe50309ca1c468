"""A factory's pipeline, called and run once on its examples: the settings that the host needs of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import save
from safetensors.torch import load_file
from torch import Tensor

from gen3dexport.disk import write_atomically
from gen3dexport.documents.record import Record, told
from gen3dexport.documents.shipped import did_you_mean
from gen3dexport.errors import UsageError
from gen3dexport.models.custom.host.asset import Meaning
from gen3dexport.models.custom.host.declared import Part, Pipeline
from gen3dexport.models.custom.host.settings import Knobs, PartSettings, Settings, Spec, examples_file
from gen3dexport.models.custom.networks import adapting, user_code
from gen3dexport.models.custom.networks.factory import make, plain, source

_CLOSE = 1e-6


def describe(knobs: Knobs, own_weights: bool) -> Settings:
    """The settings of a recipe's factory; its examples are written where `examples_file` says.

    Args:
        own_weights: whether the factory's values are the weights.

    Raises:
        UsageError: when the factory gives no pipeline that runs on its examples.
    """
    where = f"factory {knobs.factory}"
    pipeline = make(knobs.factory, knobs.arguments, knobs.outputs)
    parts = pipeline.parts
    assert not isinstance(parts, Part)
    examples = _examples(pipeline, knobs, where)
    first = examples[0]
    known = dict(first)
    described: list[PartSettings] = []
    gives: dict[str, Spec] = {}
    for part in parts:
        inputs = _inputs_of(part, known, where)
        outputs, own = outputs_of(part, {name: known[name] for name in inputs}, f"{where}: part {part.name}")
        if again := sorted(known.keys() & outputs.keys()):
            raise UsageError(
                f"{where}: part {part.name}: its output {again[0]} has the name of another array; rename it"
            )
        known |= outputs
        gives |= {name: spec_of(value) for name, value in outputs.items()}
        described.append(_part_settings(part.name, inputs, tuple(outputs), own, where))
    taken = {name for one in described for name in one.inputs}
    if idle := sorted(first.keys() - taken):
        raise UsageError(f"{where}: no part takes the example input {idle[0]!r}{did_you_mean(idle[0], taken)}")
    if len({one.name for one in described}) < len(described):
        raise UsageError(f"{where}: two parts of one name; name each (Part(module, name=...))")
    stored = save({f"{k}.{name}": value.numpy() for k, one in enumerate(examples) for name, value in one.items()})
    try:
        settings = Settings(
            factory=knobs.factory,
            arguments=knobs.arguments,
            source=source(knobs.factory),
            examples=hashlib.sha256(stored).hexdigest(),
            how_many=len(examples),
            own_weights=digest_of_weights(parts) if own_weights else "",
            parts=tuple(described),
            takes={name: spec_of(value) for name, value in first.items()},
            gives=gives,
            asset=knobs.asset or _asset(pipeline.asset, where),
        )
    except ValidationError as error:
        raise UsageError(f"{where}: {told(error)}; names are letters, digits and _") from None
    write_atomically(examples_file(settings), stored)
    return settings


def _part_settings(
    name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], returns: tuple[str, ...], where: str
) -> PartSettings:
    try:
        return PartSettings(name=name, inputs=inputs, outputs=outputs, returns=returns)
    except ValidationError as error:
        raise UsageError(f"{where}: part {name!r}: {told(error)}; names are letters, digits and _") from None


def _asset(asset: Mapping[str, Any] | Record | None, where: str) -> Any:
    try:
        return None if asset is None else TypeAdapter(Meaning).validate_python(asset)
    except ValidationError as error:
        raise UsageError(f"{where}: asset: {told(error)}") from None


def _examples(pipeline: Pipeline, knobs: Knobs, where: str) -> list[dict[str, Tensor]]:
    """The example inputs: of the recipe's file or shapes, else the factory's.

    Raises:
        UsageError: when there are none, or several that differ in more than values.
    """
    if knobs.example and knobs.inputs:
        raise UsageError(f"{where}: example and inputs both say what goes in; leave one out")
    given: Sequence[Mapping[str, Any]]
    if knobs.example:
        given = [read_example(Path(knobs.example))]
    elif knobs.inputs:
        generator = torch.Generator().manual_seed(0)
        given = [{name: torch.randn(shape, generator=generator) for name, shape in knobs.inputs.items()}]
    else:
        given = [pipeline.examples] if isinstance(pipeline.examples, Mapping) else list(pipeline.examples)
    if not given or not all(isinstance(one, Mapping) and one for one in given):
        parts = pipeline.parts
        names = adapting.needed(parts[0].module) if not isinstance(parts, Part) else []
        shapes = ", ".join(f"{name}: [1, ...]" for name in names)
        raise UsageError(
            f"{where}: no example inputs, and programs have fixed shapes; give `example: FILE.safetensors` or "
            f"`inputs: {{{shapes}}}` under model, or have the factory give them"
        )
    found = [{str(n): plain(v, f"{where}: example input {n}") for n, v in one.items()} for one in given]
    forms = [{name: spec_of(value) for name, value in one.items()} for one in found]
    for k, form in enumerate(forms):
        if form != forms[0]:
            raise UsageError(f"{where}: example {k} has other names, shapes or types than the first")
    return found


def read_example(path: Path) -> dict[str, Tensor]:
    """Named tensors of a safetensors file.

    Raises:
        UsageError: when it is missing or no such file.
    """
    try:
        return dict(load_file(path.expanduser()))
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path}: no safetensors file of example inputs ({error})") from error


def _inputs_of(part: Part, known: Mapping[str, Tensor], where: str) -> tuple[str, ...]:
    """What a part takes of what is known before it."""
    own, parameters = adapting.needed(part.module), adapting.parameters(part.module)
    named = tuple(part.inputs) or (*own, *(name for name in parameters if name not in own and name in known))
    if not named:  # forward(*inputs)
        named = tuple(known)
    for name in named:
        if name not in known:
            first = f"{where}: part {part.name}: nothing gives its input {name!r}"
            raise UsageError(f"{first}{did_you_mean(name, known)}")
    fixed = [name for name in own if name not in named]
    variable = any(p.kind.name.startswith("VAR_") for p in parameters.values())
    if fixed or (not variable and (unknown := [n for n in named if n not in parameters])):
        what = f"forward needs {fixed[0]!r}, too" if fixed else f"forward has no parameter {unknown[0]!r}"
        raise UsageError(f"{where}: part {part.name}: {what}; its parameters are {', '.join(parameters)}")
    return named


def outputs_of(part: Part, inputs: Mapping[str, Tensor], where: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """What a part returns by name, and their own names there.

    Raises:
        UsageError: when it fails on these inputs, changes them, draws random numbers, or returns no tensors.
    """
    given = {name: value.clone() for name, value in inputs.items()}
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            found = adapting.run(part.module, given)
            torch.manual_seed(2)
            second = adapting.run(part.module, {name: value.clone() for name, value in inputs.items()})
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    except Exception as error:  # user code raises any type; the cause is kept
        shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in inputs.items())
        raise UsageError(f"{where}: fails on {shapes}: {user_code.told(error)}") from error
    for name, value in inputs.items():
        if not torch.equal(given[name], value):
            raise UsageError(f"{where}: changes its input {name} in place; begin forward with {name} = {name}.clone()")
    for name, value in found:
        if value.is_complex():
            raise UsageError(f"{where}: output {name} is complex, which no target gives; return its view_as_real")
        other = dict(second).get(name)
        if (
            other is None
            or other.shape != value.shape
            or not torch.allclose(value.float(), other.float(), rtol=_CLOSE, atol=_CLOSE, equal_nan=True)
        ):
            raise UsageError(
                f"{where}: output {name} differs between two calls on the same input; it draws random numbers or keeps "
                "something: take noise as an input, and keep nothing between calls"
            )
    names = adapting.chosen([name for name, _ in found], part.outputs, where)
    values = dict(found)
    outputs = {n: values[own].float() if values[own].is_floating_point() else values[own] for n, own in names.items()}
    return outputs, tuple(names.values())


def spec_of(value: Tensor) -> Spec:
    """Shape and type of a tensor."""
    return Spec(shape=tuple(value.shape), dtype=str(value.dtype).removeprefix("torch."))


def digest_of_weights(parts: Sequence[Part]) -> str:
    """SHA-256 of every value of the parts' parameters and buffers, with their names."""
    found = hashlib.sha256()
    for part in parts:
        for name, value in sorted(part.module.state_dict().items()):
            if isinstance(value, Tensor):
                found.update(f"{part.name}.{name} {value.dtype} {tuple(value.shape)}\n".encode())
                found.update(np.ascontiguousarray(value.detach().numpy()).tobytes())
    return found.hexdigest()
