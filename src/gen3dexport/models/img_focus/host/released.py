"""The published ONNX file: its tensors under the names of transformers' `Dinov2Model` and of the decoder. No torch.

The file keeps biases, norms and the decoder by name, and linear weights under numbers: which is which stands in the
names of the nodes that use them. The position table is in two pieces, the class token's and the patches'.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.errors import UsageError
from gen3dexport.models.onnx_file import OnnxFile, read_onnx

FILE = "vit_s_focus.onnx"
"""The file that every checkpoint folder has."""

_EMBEDDINGS = "backbone.embeddings"
_NAMED = ("backbone.", "decoder.")


def read_released(folder: Path) -> dict[str, NDArray[Any]]:
    """The tensors of `folder`/vit_s_focus.onnx, linear weights as [out, in].

    Raises:
        UsageError: when the file is missing or damaged, or is not such a network.
        MissingError: when the package onnx is not installed.
    """
    file = read_onnx(folder / FILE)
    found = {name: value for name, value in file.tensors.items() if name.startswith(_NAMED)}
    if f"{_EMBEDDINGS}.cls_token" not in found:
        raise UsageError(f"{file.path}: has no {_EMBEDDINGS}.cls_token, so it is no network of this family")
    found |= _linear_weights(file)
    found[f"{_EMBEDDINGS}.position_embeddings"] = _position_table(file)
    return found


def _linear_weights(file: OnnxFile) -> dict[str, NDArray[Any]]:
    """Weights of linear layers: what a product with a stored matrix multiplies by, named after the product's node."""
    found = {}
    for node in file.of("MatMul"):
        stored = file.tensors.get(node.inputs[1])
        if stored is not None:
            module = node.name.removeprefix("/").removesuffix("/MatMul").replace("/", ".")
            found[f"{module}.weight"] = np.ascontiguousarray(stored.T)
    return found


def _position_table(file: OnnxFile) -> NDArray[Any]:
    """The table [1, 1 + n^2, C]: what is reshaped to be resampled, after what is put before the result of that."""

    def pieces(operator: str) -> list[NDArray[Any]]:
        taken = (name for node in file.of(operator) for name in node.inputs if not name.startswith(_NAMED))
        return [t for t in map(file.tensors.get, taken) if t is not None and t.ndim == 3 and t.dtype.kind == "f"]

    first, grid = pieces("Concat"), pieces("Reshape")
    if len(first) != 1 or len(grid) != 1:
        raise UsageError(
            f"{file.path}: its position table is not found: {len(first)} tensors are joined with others, and "
            f"{len(grid)} reshaped, where one of each is needed"
        )
    return np.concatenate([first[0], grid[0]], 1)
