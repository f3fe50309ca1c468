"""A pipeline's one network as a component: with stored weights, seeded random ones, or none. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from gen3dexport.models.component import Component
from gen3dexport.models.declaration import Reading, Weights
from gen3dexport.networks.checkpoints import read_weights

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Making(Generic[M]):
    """How a network is made.

    Attributes:
        released: a module with the released tensors' names, with random values.
        read: (tensors of a file, the file) -> such a module with these; raises UsageError where they do not fit.
        built: such a module -> the network that is exported.
        outputs: names of what the network returns.
        inputs: shapes of what it takes, by name.
    """

    released: Callable[[], M]
    read: Callable[[Mapping[str, Tensor], str], M]
    built: Callable[[M], nn.Module]
    outputs: tuple[str, ...]
    inputs: Mapping[str, tuple[int, ...]]


def load_network(name: str, making: Making[M], stem: Path, weights: Weights, reading: Reading) -> Component:
    """The component `name` with the weights of `stem`.safetensors (or a pickle), seeded random ones, or as shapes.

    Raises:
        UsageError: when the file is missing, damaged or does not fit.
    """
    if weights == "stored":
        path = stem.with_name(f"{stem.name}.safetensors")
        state = read_weights(path, reading.allow_pickle, reading.strip_prefix)
        return Component(name, making.built(making.read(state, str(path))), {}, making.outputs)
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return Component(name, making.built(making.released()), {}, making.outputs)
    with torch.device("meta"):
        inputs = {key: torch.zeros(shape) for key, shape in making.inputs.items()}
        return Component(name, making.built(making.released()), inputs, making.outputs)
