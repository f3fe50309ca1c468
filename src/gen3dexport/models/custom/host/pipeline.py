"""The pipeline of one's own model on the host: parts one after the other, arrays by name. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gen3dexport.arrays import on_host
from gen3dexport.assets.tensors import Tensors
from gen3dexport.errors import UsageError
from gen3dexport.models import Request
from gen3dexport.models.custom.host.arrays import checked, described, example
from gen3dexport.models.custom.host.asset import Surface
from gen3dexport.models.custom.host.settings import EXAMPLES, PartSettings, Settings, examples_file
from gen3dexport.models.declaration import AS_STORED, Call, Declaration, Reading, State, Weights

if TYPE_CHECKING:
    from gen3dexport.models.component import Component


def components(settings: Settings) -> tuple[Declaration, ...]:
    """A component for every part of the factory's pipeline."""
    return tuple(
        Declaration(
            name=part.name,
            checkpoint=part.name,
            inputs=part.inputs,
            outputs=part.outputs,
            advance=partial(_advance, settings, part),
            load=partial(_load, settings, part),
            host_files=partial(_host_files, settings),
        )
        for part in settings.parts
    )


def _load(
    settings: Settings, part: PartSettings, folder: Path, weights: Weights = "stored", reading: Reading = AS_STORED
) -> Component:
    from gen3dexport.models.custom.networks.loading import load_component

    return load_component(settings, part, folder, weights, reading)


def _host_files(settings: Settings, folder: Path) -> Mapping[str, Path]:
    return {EXAMPLES: examples_file(settings)}


def begin(settings: Settings, request: Request, files: Path, xp: Any) -> State:
    """The request's arrays; of golden data, those of an example.

    Raises:
        UsageError: for a request with a prompt or a picture, or without the arrays that the networks take.
    """
    if request.stand_in:
        known = example(settings, request.seed, files)
        return {name: xp.asarray(known[name]) for name in settings.asked}
    wanted = ", ".join(f"{name} {described(spec)}" for name, spec in settings.asked.items()) or "none"
    for what, given in (("prompt", request.prompt), ("image", request.image), ("features", request.features)):
        if given is not None and str(given) != "":
            raise UsageError(f"{what}: this model is asked with arrays by name ({wanted}), and takes no {what}")
    if request.inputs is None and settings.asked:
        raise UsageError(f"this model takes {wanted}; give them with --input FILE.npz (in Python: inputs={{...}})")
    found = checked(request.inputs or {}, settings.asked, "inputs")
    return {name: xp.asarray(value) for name, value in found.items()}


def _advance(settings: Settings, part: PartSettings, state: State, program: Call, xp: Any) -> State:
    """A part's outputs beside what was known; over a grid where it is the one that a surface asks."""
    asset = settings.asset
    if isinstance(asset, Surface) and asset.points in part.inputs:
        given = {name: state[name] for name in part.inputs if name != asset.points}
        return {**state, asset.values: _field(settings, asset, given, part.inputs, program, xp)}
    answer = program({name: state[name] for name in part.inputs})
    return {**state, **{name: answer[name] for name in part.outputs}}


def _field(
    settings: Settings, asset: Surface, given: Mapping[str, Any], order: tuple[str, ...], program: Call, xp: Any
) -> Any:
    """The network's values [R, R, R] at the points of a grid, as many at a time as its input has; the last ones are
    filled up with the cube's centre."""
    shape, points = settings.takes[asset.points].shape, asset.grid()
    chunk, values = shape[-2], np.zeros(len(points), np.float32)
    for start in range(0, len(points), chunk):
        part = points[start : start + chunk]
        padded = np.zeros((chunk, 3), np.float32)
        padded[: len(part)] = part
        inputs = {**given, asset.points: xp.asarray(padded.reshape(shape))}
        answer = on_host(program({name: inputs[name] for name in order})[asset.values])
        values[start : start + len(part)] = answer.reshape(-1)[: len(part)]
    return xp.asarray(values.reshape(3 * (asset.resolution,)))


def make_assets(state: State, settings: Settings) -> dict[str, Any]:
    """What the outputs mean, where that is said, and the outputs of all parts by name."""
    named = [name for part in settings.parts for name in part.outputs]
    arrays = {n: np.asarray(on_host(state[n])).astype(settings.gives[n].dtype) for n in named if n in state}
    made: dict[str, Any] = {} if settings.asset is None else {settings.asset.kind: settings.asset.asset(arrays)}
    return {**made, "tensors": Tensors(arrays)}
