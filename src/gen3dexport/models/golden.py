"""Golden sets: a network's configuration, weights, inputs and expected outputs, as files.

Format: `config.json` {"name", "args"[, "extra"]}, `weights.safetensors`, `io.safetensors` with tensors `in.NAME`,
`mid.NAME` and `out.NAME`, `meta.json` with the scale of the main outputs. A set of host work has neither `name` nor
weights. Where a set is kept small, `rows.NAME` says which rows of an output `out.NAME` has.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from gen3dexport.documents.json_file import read_json
from gen3dexport.documents.record import told
from gen3dexport.errors import UsageError
from gen3dexport.models.component import Component
from gen3dexport.models.configuration import fields_of
from gen3dexport.networks.checkpoints import read_weights

WEIGHTS = "weights.safetensors"
"""A set's file of its network's weights."""
Arrays = dict[str, NDArray[Any]]
Run = Callable[[Mapping[str, NDArray[Any]]], Arrays]
"""Inputs by name -> outputs by name of a set's network; not called for a set of host work."""
Config = TypeVar("Config", bound=BaseModel)
Maker = Callable[[str, Mapping[str, Any], Mapping[str, Tensor], Mapping[str, Tensor], str], Component]
"""Kind, configuration, tensors, weights and their file's name -> the network of a set with the set's inputs."""


@dataclass(frozen=True)
class Golden:
    """A golden folder, read.

    Attributes:
        component: the network with the stored weights; its example inputs are the stored ones. None for host work.
        tensors: every stored tensor by full name (`in.x`, `mid.block0`, `out.v`).
        extra: further settings (the sampler's).
        subject: what the folder exercises (`ss_flow`, `sampler`, ...).
    """

    component: Component | None
    tensors: dict[str, Tensor]
    extra: dict[str, Any]
    subject: str

    def inputs(self) -> Arrays:
        """The stored inputs of the network by name; none for host work."""
        given = {} if self.component is None else self.component.inputs
        return {name: tensor.numpy() for name, tensor in given.items()}

    def expected(self) -> dict[str, Tensor]:
        """The stored outputs that the network itself computes."""
        if self.component is None:
            return {}
        return {name: self.tensors[f"out.{name}"] for name in self.component.outputs if f"out.{name}" in self.tensors}

    def stored(self, name: str) -> NDArray[Any] | None:
        """The output `out.NAME`, else the step `mid.NAME`; None where the set has neither."""
        value = self.tensors.get(f"out.{name}", self.tensors.get(f"mid.{name}"))
        return None if value is None else value.numpy()

    def compared(self, made: Mapping[str, NDArray[Any]]) -> tuple[Arrays, Arrays]:
        """What was made of all that the set has stored, and what it has, by name."""
        stored = {name: value for name in made if (value := self.stored(name)) is not None}
        return {name: made[name] for name in stored}, stored


def read_files(folder: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Tensor]]:
    """`config.json`, `meta.json` and the tensors of a golden folder.

    Raises:
        UsageError: when a file is missing or damaged.
    """
    if not (folder / "config.json").is_file() and (sets := sets_in(folder)):
        raise UsageError(
            f"{folder}: a folder of golden sets and none itself; there are {', '.join(sets)}; give one, e.g. "
            f"{folder / sets[0]}"
        )
    for name in ("config.json", "meta.json", "io.safetensors"):
        if not (folder / name).is_file():
            raise UsageError(
                f"{folder / name}: not found; a golden folder has config.json, meta.json, weights.safetensors and "
                "io.safetensors"
            )
    config, meta = (read_json(folder / f"{name}.json", "a golden set's file") for name in ("config", "meta"))
    try:
        return config, meta, load_file(folder / "io.safetensors")
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{folder / 'io.safetensors'}: safetensors cannot read it ({error}); copy it again") from error


def read_set(folder: Path, component: Maker, of_host: tuple[str, ...] = ()) -> Golden:
    """Read the golden set of a network, weights loaded strictly, or of the host's work.

    Args:
        of_host: kinds of sets that have no network.

    Raises:
        UsageError: when a file is missing or damaged or the weights do not fit the network.
    """
    config, meta, tensors = read_files(folder)
    kind = str(meta["component"])
    if kind in of_host:
        return Golden(None, tensors, config, kind)
    try:
        return Golden(component(kind, config, tensors, *stored_weights(folder)), tensors, config, kind)
    except ValidationError as error:
        raise UsageError(f"{folder}: not a golden folder of {kind}: {told(error)}") from error


def stored_weights(folder: Path, name: str = WEIGHTS) -> tuple[dict[str, Tensor], str]:
    """The weights of a set, and where they are from.

    Raises:
        UsageError: when the file is missing or damaged.
    """
    return read_weights(folder / name), str(folder / name)


def tagged(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The inputs `in.TAG.NAME` of a set that has several of a kind, by tag."""
    places = {key.removeprefix("in.").rpartition("."): value for key, value in tensors.items() if key.startswith("in.")}
    return {tag: value for (tag, _, last), value in places.items() if tag and last == name}


def stored_steps(tensors: Mapping[str, Tensor], known: Container[str]) -> tuple[str, ...]:
    """Names of the outputs and steps that a set has, of those that are known."""
    stored = (name.partition(".")[2] for name in tensors if name.startswith(("out.", "mid.")))
    return tuple(dict.fromkeys(name for name in stored if name in known))


def configured(model: type[Config], said: Mapping[str, Any]) -> Config:
    """A network's configuration of what a set says; sets say sizes of their inputs, and settings of training, beside
    it."""
    return model(**fields_of(model, said))


def sets_in(folder: Path) -> list[str]:
    """The names of the golden sets that lie in a folder."""
    return sorted(path.parent.name for path in folder.glob("*/config.json"))
