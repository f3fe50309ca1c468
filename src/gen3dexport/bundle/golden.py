"""Golden data: what the float32 eager model took and gave, as files of a bundle or a stage cache's entry. No torch.

    NAME.safetensors               `K.in.INPUT`, `K.fp32.OUTPUT`, `K.quantized.OUTPUT` of the kept call K of a component
    NAME.sampler.safetensors       `in.INPUT`, `fp32.OUTPUT`, `quantized.OUTPUT` of its sampler loop as one program
    NAME.trajectory.safetensors    `K.STATE.TIME`: its latent before each step and after the last, of prompt K
    assets.safetensors             `K.KIND.ARRAY`: the assets of prompt K

Outputs have their real rows alone. What is equal in float32 and quantized is there once, as float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

Arrays = Mapping[str, np.ndarray]
Assets = Mapping[str, Arrays]
"""The arrays of one prompt's assets, by kind and name."""

FOLDER = "golden"
"""The folder of golden data in a bundle."""
ASSETS = "assets.safetensors"
"""The file of assets in it."""


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a program: inputs, and outputs of the float32 eager model and of the quantized one, by name."""

    inputs: Arrays
    fp32: Arrays = field(default_factory=dict)
    quantized: Arrays = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Trajectories:
    """The latent of a sampler in the float32 eager model.

    Attributes:
        state, time: names of the latent and of the time among the network's inputs.
        latents: per golden prompt, [steps + 1, ...]: before each step and after the last one.
    """

    state: str
    time: str
    latents: tuple[np.ndarray, ...]


def write_calls(folder: Path, component: str, calls: Sequence[Call]) -> None:
    """The kept calls of a component into the folder `golden`."""
    _write(_calls(folder, component), {f"{k}.{key}": v for k, call in enumerate(calls) for key, v in _flat(call)})


def read_calls(folder: Path, component: str) -> list[Call]:
    """The kept calls of a component."""
    found = _nested(load_file(_calls(folder, component)))
    return [_call(found[k]) for k in sorted(found, key=int)]


def write_loop(folder: Path, component: str, call: Call) -> None:
    """The one call of a component's sampler loop into the folder `golden`."""
    _write(_loop(folder, component), dict(_flat(call)))


def read_loop(folder: Path, component: str) -> Call:
    """The call of a component's sampler loop; without outputs where no whole loop was run."""
    return _call(_nested(load_file(_loop(folder, component))))


def write_trajectories(folder: Path, component: str, found: Trajectories) -> None:
    """The trajectories of a component's sampler into the folder `golden`."""
    arrays = {f"{k}.{found.state}.{found.time}": latents for k, latents in enumerate(found.latents)}
    _write(_trajectories(folder, component), arrays)


def read_trajectories(folder: Path, component: str) -> Trajectories | None:
    """The trajectories of a component's sampler; None where there are none."""
    path = _trajectories(folder, component)
    if not path.is_file():
        return None
    arrays = load_file(path)
    keys = sorted(arrays, key=lambda key: int(key.partition(".")[0]))
    _, state, time = keys[0].split(".")
    return Trajectories(state, time, tuple(arrays[key] for key in keys))


def write_assets(path: Path, assets: Sequence[Assets]) -> None:
    """The assets of every prompt into one file."""
    _write(
        path,
        {
            f"{k}.{kind}.{name}": value
            for k, made in enumerate(assets)
            for kind, arrays in made.items()
            for name, value in arrays.items()
        },
    )


def read_assets(path: Path) -> list[dict[str, dict[str, np.ndarray]]]:
    """The assets of every prompt, by kind and name."""
    found: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for key, value in load_file(path).items():
        k, kind, name = key.split(".", 2)  # a sequence's names have dots of their own
        found.setdefault(k, {}).setdefault(kind, {})[name] = value
    return [found[k] for k in sorted(found, key=int)]


def write_states(path: Path, states: Sequence[Arrays]) -> None:
    """States of a pipeline, one per prompt, into one file: `K.NAME`."""
    _write(path, {f"{k}.{name}": value for k, state in enumerate(states) for name, value in state.items()})


def read_states(path: Path) -> list[dict[str, np.ndarray]]:
    """States of a pipeline, one per prompt."""
    found: dict[int, dict[str, np.ndarray]] = {}
    for key, value in load_file(path).items():
        k, _, name = key.partition(".")
        found.setdefault(int(k), {})[name] = value
    return [found[k] for k in sorted(found)]


def _calls(folder: Path, component: str) -> Path:
    return folder / f"{component}.safetensors"


def _loop(folder: Path, component: str) -> Path:
    return folder / f"{component}.sampler.safetensors"


def _trajectories(folder: Path, component: str) -> Path:
    return folder / f"{component}.trajectory.safetensors"


def _flat(call: Call) -> list[tuple[str, np.ndarray]]:
    """A call's arrays by their names in a file."""
    changed = {k: v for k, v in call.quantized.items() if k not in call.fp32 or not np.array_equal(v, call.fp32[k])}
    parts = {"in": call.inputs, "fp32": call.fp32, "quantized": changed}
    return [(f"{part}.{name}", value) for part, arrays in parts.items() for name, value in arrays.items()]


def _call(parts: Mapping[str, Arrays]) -> Call:
    fp32 = parts.get("fp32", {})
    return Call(parts["in"], fp32, {**fp32, **parts.get("quantized", {})})


def _nested(arrays: Arrays) -> dict[str, Any]:
    """`{"a.b.c": array}` as `{"a": {"b": {"c": array}}}`."""
    found: dict[str, Any] = {}
    for key, value in arrays.items():
        *parents, last = key.split(".")
        place = found
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return found


def _write(path: Path, arrays: Arrays) -> None:
    save_file({name: np.asarray(value, order="C") for name, value in arrays.items()}, path)
