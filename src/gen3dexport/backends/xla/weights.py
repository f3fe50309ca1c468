"""Weights beside the program: written block by block without a stacked copy in memory, read without torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jax import ShapeDtypeStruct
    from torch import Tensor

_NAMES = {
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int8": "I8",
    "uint8": "U8",
    "int16": "I16",
    "int32": "I32",
    "bool": "BOOL",
}
_NARROWED = {"int64": "int32"}  # JAX computes in 32 bits


def shape_of(source: Tensor | tuple[Tensor, ...]) -> ShapeDtypeStruct:
    """Shape and dtype that `source` has in the file: a tuple is stacked along a new first axis."""
    import jax.numpy as jnp
    from jax import ShapeDtypeStruct

    first = source[0] if isinstance(source, tuple) else source
    lead = (len(source),) if isinstance(source, tuple) else ()
    return ShapeDtypeStruct((*lead, *first.shape), jnp.dtype(dtype_of(first)))


def write_weights(sources: Mapping[str, Tensor | tuple[Tensor, ...]], path: Path) -> int:
    """A safetensors file of `sources`, one tensor of one block in memory at a time; gives the file's size in bytes.

    The layout is the format's: length of the header (8 bytes, little endian), header (JSON), tensors without gaps.
    """
    header: dict[str, Any] = {}
    offset = 0
    for key in sorted(sources):
        shape = shape_of(sources[key])
        size = shape.size * shape.dtype.itemsize
        entry = {"dtype": _NAMES[shape.dtype.name], "shape": list(shape.shape), "data_offsets": [offset, offset + size]}
        header[key] = entry
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for key in sorted(sources):
            for tensor in _tensors(sources[key]):
                file.write(_bytes(tensor))
    return path.stat().st_size


def read_weights(path: Path) -> dict[str, Any]:
    """Every tensor of `path` as a JAX array on the default device."""
    from safetensors.flax import load_file

    return dict(load_file(str(path)))


def _tensors(source: Tensor | tuple[Tensor, ...]) -> Iterator[Tensor]:
    yield from source if isinstance(source, tuple) else (source,)


def dtype_of(tensor: Tensor) -> str:
    """NumPy's name of the dtype that `tensor` has in a program: 64-bit integers become 32-bit."""
    name = str(tensor.dtype).removeprefix("torch.")
    return _NARROWED.get(name, name)


def _bytes(tensor: Tensor) -> memoryview:
    import torch

    dense = tensor.detach().to(getattr(torch, dtype_of(tensor))).contiguous().cpu()
    flat: Any = dense.reshape(-1).view(torch.uint8).numpy()
    return memoryview(flat)
