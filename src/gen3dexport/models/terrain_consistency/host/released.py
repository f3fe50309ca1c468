"""The published ONNX file: its tensors under the names of the network they come from. No torch.

Convolutions and linear layers keep their names. Norms lost theirs: each is an InstanceNormalization without parameters
over the groups, times one constant, plus another; they stand in the order that the network's parts run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.errors import UsageError
from gen3dexport.models.onnx_file import Node, OnnxFile, read_onnx
from gen3dexport.models.terrain_consistency.host.model import NETWORK, every_part, model_of

FILE = "terrain_consistency_unet_difficulty100.onnx"
"""The file that every checkpoint folder has."""


@dataclass(frozen=True)
class Released:
    """What a file says.

    Attributes:
        tensors: by name; size, groups, head_channels: see `Model`.
    """

    tensors: dict[str, NDArray[Any]]
    size: int
    groups: int
    head_channels: int


def read_released(folder: Path) -> Released:
    """The tensors of `folder`'s file, and what of the network's sizes they do not tell.

    Raises:
        UsageError: when the file is missing or damaged, or is not such a network.
        MissingError: when the package onnx is not installed.
    """
    file = read_onnx(folder / FILE)
    found = {name: value for name, value in file.tensors.items() if name.startswith(NETWORK)}
    norms, groups = _norms(file)
    size = next((shape[-1] for shape in file.inputs.values() if len(shape) == 4), 0)
    head = _head_channels(file)
    model = model_of(found, size, groups, head, str(file.path))
    names = [
        f"{part.name}.{norm}"
        for part in every_part(model)
        for norm in (("in_layers.0", "out_layers.0") if part.kind == "residual" else ("norm",))
    ]
    names.append("out.0")
    if len(names) != len(norms):
        raise UsageError(f"{file.path}: has {len(norms)} norms, and such a network has {len(names)}")
    for name, (weight, bias) in zip(names, norms, strict=True):
        found |= {f"{NETWORK}{name}.weight": weight, f"{NETWORK}{name}.bias": bias}
    return Released(found, size, groups, head)


def _head_channels(file: OnnxFile) -> int:
    """Channels of a head of attention: queries and keys, split off one product, are each times its power of -1/4."""
    parts = {name for node in file.of("Split") for name in node.outputs}
    factors = {
        float(file.tensors[other])
        for node in file.of("Mul")
        if parts & {*node.inputs}
        for other in node.inputs
        if other in file.tensors and file.tensors[other].ndim == 0
    }
    if len(factors) != 1 or not 0 < min(factors) <= 1:
        raise UsageError(f"{file.path}: the width of its attention's heads is not found; is it the released file?")
    return round(factors.pop() ** -4)


def _norms(file: OnnxFile) -> tuple[list[tuple[NDArray[Any], NDArray[Any]]], int]:
    """Weight and bias of every norm in the order of the nodes, and the number of groups."""
    users: dict[str, list[Node]] = {}
    for node in file.nodes:
        for name in node.inputs:
            users.setdefault(name, []).append(node)

    def after(name: str, operator: str) -> tuple[str, NDArray[Any]]:
        """The constant that an operator puts to a value, and the name of the result; reshapes between are passed."""
        while len(users.get(name, ())) == 1 and users[name][0].operator == "Reshape":
            name = users[name][0].outputs[0]
        for node in users.get(name, ()):
            constant = [file.tensors[other] for other in node.inputs if other in file.tensors]
            if node.operator == operator and len(constant) == 1:
                return node.outputs[0], np.ascontiguousarray(constant[0].reshape(-1))
        raise UsageError(f"{file.path}: a norm is followed by no {operator} with a constant; is it the released file?")

    found, groups = [], set()
    for node in file.of("InstanceNormalization"):
        scale = file.tensors.get(node.inputs[1])
        groups.add(0 if scale is None else len(scale))
        scaled, weight = after(node.outputs[0], "Mul")
        found.append((weight, after(scaled, "Add")[1]))
    if len(groups) != 1 or 0 in groups:
        raise UsageError(f"{file.path}: its norms have {sorted(groups)} groups, where one number is needed")
    return found, groups.pop()
