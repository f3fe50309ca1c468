"""The weights of a model published as an ONNX file: its tensors, and the nodes that say what they are. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.errors import MissingError, UsageError


@dataclass(frozen=True)
class Node:
    """One operator of a graph: its kind (`MatMul`), its own name, and the names of what it takes and gives."""

    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class OnnxFile:
    """A file, read.

    Attributes:
        path: of the file; tensors: stored ones by name, those of `Constant` nodes too.
        inputs: shapes of the graph's inputs by name; 0 stands for an axis of any length.
        nodes: in the order that they run.
    """

    path: Path
    tensors: dict[str, NDArray[Any]]
    inputs: dict[str, tuple[int, ...]]
    nodes: tuple[Node, ...]

    def of(self, operator: str) -> Iterator[Node]:
        """The nodes of one kind."""
        return (node for node in self.nodes if node.operator == operator)

    def users(self, name: str) -> list[Node]:
        """The nodes that take a tensor or another node's output."""
        return [node for node in self.nodes if name in node.inputs]


def read_onnx(path: Path) -> OnnxFile:
    """The tensors and nodes of an ONNX file.

    Raises:
        UsageError: when the file is missing or damaged, or keeps its tensors in other files.
        MissingError: when the package onnx is not installed.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        raise MissingError(f"{path}: reading it needs onnx; run: pip install 'gen3dexport[onnx]'") from None
    try:
        graph = onnx.load(str(path), load_external_data=False).graph
        tensors = {one.name: _array(one) for one in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                for attribute in (a for a in node.attribute if a.name == "value"):
                    tensors[node.output[0]] = _array(attribute.t)
    except FileNotFoundError:
        raise UsageError(f"{path}: not found") from None
    except (DecodeError, OSError, ValueError, TypeError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"{path}: cannot be read as ONNX with its tensors inside ({said}); copy it again") from error
    nodes = (Node(n.op_type, n.name, tuple(n.input), tuple(n.output)) for n in graph.node if n.op_type != "Constant")
    shapes = {one.name: tuple(d.dim_value for d in one.type.tensor_type.shape.dim) for one in graph.input}
    return OnnxFile(path, tensors, shapes, tuple(nodes))


def _array(tensor: Any) -> NDArray[Any]:
    from onnx import numpy_helper

    if tensor.external_data:
        raise ValueError(f"{tensor.name} lies in another file")
    found: NDArray[Any] = np.array(numpy_helper.to_array(tensor))
    return found
