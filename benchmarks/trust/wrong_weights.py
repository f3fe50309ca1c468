"""Weights that are none: one checkpoint file in every wrong form, each a function that changes a right one."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n"
PAGE = b"<!DOCTYPE html>\n<html><body>404: not found</body></html>\n"
State = dict[str, Tensor]


def _packed(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file: the header's length, the header, the data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def _header(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def _entry(change: Callable[[dict[str, Any]], object], path: Path) -> None:
    """The header with one tensor's entry changed."""
    header, data = _header(path)
    change(header[max(key for key in header if key != "__metadata__")])
    path.write_bytes(_packed(header, data))


def _state(change: Callable[[State], State | None], path: Path) -> None:
    """The file with other tensors."""
    state = load_file(path)
    save_file(changed if (changed := change(state)) is not None else state, path)


def _first(change: Callable[[Tensor], Tensor], path: Path) -> None:
    """The file with its last tensor of two axes changed."""
    state = load_file(path)
    name = max(key for key, value in state.items() if value.ndim >= 2 and value.shape[0] != value.shape[1])
    save_file(state | {name: change(state[name]).contiguous()}, path)


def _bytes(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _kind(make: Callable[[Path], object], path: Path) -> None:
    path.unlink()
    make(path)


def _pickle(content: Callable[[State], Any], path: Path) -> None:
    """A pickle beside the place of the file, which is gone."""
    made = content(load_file(path))
    path.unlink()
    with path.with_suffix(".pt").open("wb") as stream:
        stream.write(made) if isinstance(made, bytes) else torch.save(made, stream)


def _index(change: Callable[[Path, dict[str, Any]], Any], path: Path) -> None:
    """Two shards and a changed index, or what else stands in its place."""
    state = load_file(path)
    path.unlink()
    names = sorted(state)
    places = {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        shard = f"{path.stem}-0000{number}-of-00002.safetensors"
        save_file({name: state[name] for name in part}, path.with_name(shard))
        places |= dict.fromkeys(part, shard)
    found = change(path.parent, {"metadata": {}, "weight_map": places})
    index = path.with_name(f"{path.name}.index.json")
    index.write_bytes(found if isinstance(found, bytes) else json.dumps(found).encode())


def _map(places: Any) -> Callable[[Path, dict[str, Any]], Any]:
    return lambda folder, index: {**index, "weight_map": places}


def _everywhere(name: str) -> Callable[[Path, dict[str, Any]], Any]:
    return lambda folder, index: {**index, "weight_map": dict.fromkeys(index["weight_map"], name)}


def _shard(harm: Callable[[Path], object]) -> Callable[[Path, dict[str, Any]], Any]:
    def change(folder: Path, index: dict[str, Any]) -> Any:
        harm(folder / sorted(set(index["weight_map"].values()))[0])
        return index

    return change


def _unpickled() -> bytes:
    stream = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, stream)
    return stream.getvalue()


_HEADERS: Mapping[str, Callable[[dict[str, Any]], object]] = {
    "a tensor without a dtype": lambda entry: entry.pop("dtype"),
    "a tensor without a shape": lambda entry: entry.pop("shape"),
    "a tensor without a place": lambda entry: entry.pop("data_offsets"),
    "an unknown dtype": lambda entry: entry.update(dtype="F31"),
    "a dtype that is a number": lambda entry: entry.update(dtype=5),
    "a negative length": lambda entry: entry.update(shape=[-1, *entry["shape"][1:]]),
    "a shape that is a text": lambda entry: entry.update(shape="4"),
    "a shape that is a fraction": lambda entry: entry.update(shape=[1.5]),
    "a shape beyond the file": lambda entry: entry.update(shape=[2**40]),
    "a shape beyond 64 bits": lambda entry: entry.update(shape=[2**40, 2**40]),
    "a place turned round": lambda entry: entry.update(data_offsets=entry["data_offsets"][::-1]),
    "a place beyond the file": lambda entry: entry.update(data_offsets=[2**50, 2**50 + 4]),
    "a negative place": lambda entry: entry.update(data_offsets=[-4, 0]),
    "a place of another": lambda entry: entry.update(data_offsets=[0, 4]),
    "a place that is a number": lambda entry: entry.update(data_offsets=5),
}

_RAW: Mapping[str, bytes] = {
    "nothing": b"",
    "four bytes": b"abcd",
    "a header of length 0": _packed(b""),
    "a header of length 2^63": _packed(b"{}", length=2**63),
    "a header longer than the file": _packed(b"{}", length=1000),
    "a header that is no JSON": _packed(b"tensors"),
    "a header that is a list": _packed([]),
    "a header of an entry that is a list": _packed({"a": []}),
    "a header in UTF-16": _packed(json.dumps({"a": {}}).encode("utf-16")),
    "a header without end": _packed(b"[" * 100_000),
    "metadata that are numbers": _packed({"__metadata__": {"a": 1}}),
    "no tensors": _packed({}),
    "a Git LFS pointer": POINTER,
    "a page of HTML": PAGE,
    "an archive": b"PK\x03\x04" + b"\0" * 100,
    "a pickle": pickle.dumps({"a": [1.0]}),
    "a pickle of torch": _unpickled(),
    "a text in UTF-16": "weights".encode("utf-16"),
    "zeros": b"\0" * 1000,
}

_DTYPES = (torch.int64, torch.int32, torch.uint8, torch.bool, torch.complex64)

_FORMS: Mapping[str, Callable[[Path], object]] = {
    **{f"file: {name}": partial(_bytes, content) for name, content in _RAW.items()},
    **{f"header: {name}": partial(_entry, change) for name, change in _HEADERS.items()},
    "file: cut": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "file: half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "file: bytes behind": lambda path: path.write_bytes(path.read_bytes() + b"more"),
    "kind: missing": lambda path: path.unlink(),
    "kind: a folder": partial(_kind, lambda path: path.mkdir()),
    "kind: a pipe": partial(_kind, lambda path: os.mkfifo(path)),
    "kind: a device without end": partial(_kind, lambda path: path.symlink_to("/dev/zero")),
    "kind: a link to nothing": partial(_kind, lambda path: path.symlink_to("nowhere")),
    "kind: a link to itself": partial(_kind, lambda path: path.symlink_to(path.name)),
    **{f"dtype: one of {dtype}": partial(_first, lambda t, dtype=dtype: t.to(dtype)) for dtype in _DTYPES},
    **{
        f"dtype: all of {dtype}": partial(_state, lambda s, dtype=dtype: {k: v.to(dtype) for k, v in s.items()})
        for dtype in _DTYPES
    },
    "shape: transposed": partial(_first, lambda t: t.transpose(0, 1)),
    "shape: a row more": partial(_first, lambda t: torch.cat([t, t[:1]])),
    "shape: a row less": partial(_first, lambda t: t[1:]),
    "shape: flat": partial(_first, lambda t: t.flatten()),
    "shape: an axis more": partial(_first, lambda t: t[None]),
    "shape: nothing in it": partial(_first, lambda t: t[:0]),
    "shape: one number": partial(_first, lambda t: t.flatten()[0]),
    "names: one missing": partial(_state, lambda s: {k: s[k] for k in sorted(s)[1:]}),
    "names: one more": partial(_state, lambda s: s | {"extra.bias": torch.zeros(1)}),
    "names: one renamed": partial(_state, lambda s: {k + ("_" if k == max(s) else ""): v for k, v in s.items()}),
    "names: a prefix": partial(_state, lambda s: {f"module.{k}": v for k, v in s.items()}),
    "names: others": partial(_state, lambda s: {str(k): v for k, v in enumerate(s.values())}),
    "names: an empty one": partial(_state, lambda s: s | {"": torch.zeros(1)}),
    "values: one NaN": partial(
        _first, lambda t: t.flatten().index_fill(0, torch.tensor(1), torch.nan).reshape(t.shape)
    ),
    "values: infinity": partial(_first, lambda t: torch.full_like(t, torch.inf)),
    "values: minus infinity": partial(_first, lambda t: torch.full_like(t, -torch.inf)),
    "pickle: without leave": partial(_pickle, lambda s: s),
}

_INDEXES: Mapping[str, Callable[[Path, dict[str, Any]], Any]] = {
    "no map": lambda folder, index: {"metadata": {}},
    "a map that is a list": _map([]),
    "a map that is a number": _map(5),
    "an empty map": _map({}),
    "a map to numbers": _map({"a": 1}),
    "a place above": _everywhere("../model.safetensors"),
    "an absolute place": _everywhere("/etc/hostname"),
    "an empty place": _everywhere(""),
    "the folder itself": _everywhere("."),
    "a shard that is missing": _everywhere("none.safetensors"),
    "a list": lambda folder, index: [],
    "no JSON": lambda folder, index: b"index",
    "UTF-16": lambda folder, index: json.dumps(index).encode("utf-16"),
    "a Git LFS pointer": lambda folder, index: POINTER,
    "nothing": lambda folder, index: b"",
    "nested without end": lambda folder, index: b"[" * 100_000,
    "a NaN": lambda folder, index: json.dumps({**index, "metadata": {"total": float("nan")}}).encode(),
    "a tensor that no shard has": lambda folder, index: {
        **index,
        "weight_map": index["weight_map"] | {"extra": max(index["weight_map"].values())},
    },
    "a tensor less": lambda folder, index: {**index, "weight_map": dict(sorted(index["weight_map"].items())[1:])},
    "a shard that is a pointer": _shard(lambda shard: shard.write_bytes(POINTER)),
    "a shard that is cut": _shard(lambda shard: shard.write_bytes(shard.read_bytes()[:-5])),
    "a shard that is a folder": _shard(lambda shard: (shard.unlink(), shard.mkdir())),
    "a shard that is a pipe": _shard(lambda shard: (shard.unlink(), os.mkfifo(shard))),
}

_PICKLES: Mapping[str, Callable[[State], Any]] = {
    "no pickle": lambda s: b"pickle",
    "nothing": lambda s: b"",
    "cut": lambda s: _unpickled()[:200],
    "a Git LFS pointer": lambda s: POINTER,
    "a page of HTML": lambda s: PAGE,
    "code": lambda s: pickle.dumps(print),
    "a list": lambda s: list(s.values()),
    "a tensor": lambda s: next(iter(s.values())),
    "numbers": lambda s: {"epoch": 3},
    "two state dicts": lambda s: {"model": s, "ema": s},
    "names that are numbers": lambda s: dict(enumerate(s.values())),
    "half of it": lambda s: dict(list(s.items())[: len(s) // 2]),
    "whole numbers": lambda s: {k: v.to(torch.int32) for k, v in s.items()},
}

FORMS: Mapping[str, Callable[[Path], object]] = {
    **_FORMS,
    **{f"shards: {name}": partial(_index, change) for name, change in _INDEXES.items()},
}
"""Every wrong form by its name, which says which part of the file is wrong."""
PICKLES: Mapping[str, Callable[[Path], object]] = {
    f"pickle: {name}": partial(_pickle, content) for name, content in _PICKLES.items()
}
"""Those that are read when pickles are allowed."""


def folder_with(folder: Path, file: str, harm: Callable[[Path], object], out: Path) -> Path:
    """A copy of a checkpoint's folder, one file of it wrong."""
    shutil.copytree(folder, out)
    harm(out / file)
    return out
