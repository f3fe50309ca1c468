"""Where two bundles differ: the file, and in it the member, tensor, field or line that differs."""

from __future__ import annotations

import importlib.util
import itertools
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from gen3dexport.bundle.files import digest, found_in
from gen3dexport.bundle.report_files import BESIDE_MANIFEST, MANIFEST

MEASURED = tuple(
    f"{program}.facts.compile.{field}"
    for program in ("programs.*", "unquantized.*.program")
    for field in ("seconds", "cpu_seconds", "peak_rss_bytes")
)
"""Fields of a manifest that say how long a compiler worked, and in how much memory: the only ones that may differ."""

_FOLLOW = ("digest", "files.*")  # fields of a manifest that repeat what differs elsewhere
_MOST = 5  # places named in one file
_NOTHING = "nothing"

Place = tuple[str, str, str]
"""Where in a file, and what the first and the second have there."""


@dataclass(frozen=True)
class Difference:
    """A place where two bundles differ.

    Attributes:
        file: relative to the bundle; where: the place in it; first, second: what stands there.
        measured: whether it is a field of `MEASURED`.
    """

    file: str
    where: str
    first: str
    second: str
    measured: bool = False

    def __str__(self) -> str:
        return f"{self.file}: {self.where}: {self.first} | {self.second}"


def differences(first: Path, second: Path) -> list[Difference]:
    """Every file that differs between two bundles, with the first places in it that do.

    Reports are left out: they hold measurements, and no manifest lists them.
    """
    own = [{name for name, _ in found_in(folder)} - BESIDE_MANIFEST for folder in (first, second)]
    found = [
        Difference(name, "file", "there" if name in own[0] else _NOTHING, "there" if name in own[1] else _NOTHING)
        for name in sorted(own[0] ^ own[1])
    ]
    for name in sorted(own[0] & own[1]):
        if digest(first / name) == digest(second / name):
            continue
        places = _places(name, (first / name).read_bytes(), (second / name).read_bytes())
        if name == MANIFEST:
            others = [place for place in places if not _fits(place[0], _FOLLOW)]
            measured = [Difference(name, *place, measured=True) for place in others if _fits(place[0], MEASURED)]
            places = iter([place for place in others if not _fits(place[0], MEASURED)])
            found += measured
        found += [Difference(name, *place) for place in itertools.islice(places, _MOST)]
    return found


def _fits(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def _places(name: str, a: bytes, b: bytes) -> Iterator[Place]:
    """The places where two files of a name differ; the reader of a format falls back on the bytes."""
    reader = _READERS.get(Path(name).suffix)
    try:
        found = None if reader is None else [*reader(a, b)]
    except Exception:  # damaged, or of another format than its name says: the vendors' readers raise many types
        found = None
    yield from found or _bytes(a, b)


def _bytes(a: bytes, b: bytes) -> Iterator[Place]:
    """The first byte that differs, with those around it; what is text is shown by lines."""
    try:
        texts = a.decode("utf-8").splitlines(), b.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        texts = None
    if texts is not None and "\0" not in "".join(texts[0][:100]):
        yield from _lines(*texts)
        return
    length = min(len(a), len(b))
    unequal = np.flatnonzero(np.frombuffer(a, np.uint8, length) != np.frombuffer(b, np.uint8, length))
    start = int(unequal[0]) if len(unequal) else length
    count = f", {len(unequal)} differ" if len(a) == len(b) else f"; {len(a)} and {len(b)} bytes"
    around = slice(max(0, start - 16), start + 32)
    yield f"byte {start} of {len(a)}{count}", repr(a[around]), repr(b[around])


def _lines(a: list[str], b: list[str]) -> Iterator[Place]:
    for number, (line, other) in enumerate(itertools.zip_longest(a, b, fillvalue=_NOTHING), 1):
        if line != other:
            yield f"line {number}", *_around(line, other)


def _around(a: str, b: str) -> tuple[str, str]:
    """Two texts from shortly before the first character that differs."""
    pairs = enumerate(zip(a, b, strict=False))
    start = next((k for k, (x, y) in pairs if x != y), min(len(a), len(b)))
    return a[max(0, start - 40) : start + 80], b[max(0, start - 40) : start + 80]


def _json(a: bytes, b: bytes) -> Iterator[Place]:
    yield from _values("", json.loads(a), json.loads(b))


def _values(path: str, a: Any, b: Any) -> Iterator[Place]:
    """Dotted paths of the fields that differ."""
    pairs: Iterator[tuple[Any, Any, Any]]
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if [*a] != [*b] and a == b:
            yield path or "the whole", f"keys {', '.join(a)}", f"keys {', '.join(b)}"
        pairs = ((key, a.get(key, _NOTHING), b.get(key, _NOTHING)) for key in {**a, **b})
    elif isinstance(a, list) and isinstance(b, list):
        pairs = ((k, x, y) for k, (x, y) in enumerate(itertools.zip_longest(a, b, fillvalue=_NOTHING)))
    else:
        if a != b:
            yield path, *_around(json.dumps(a), json.dumps(b))
        return
    for key, x, y in pairs:
        yield from _values(f"{path}.{key}" if path else str(key), x, y)


def _zip(a: bytes, b: bytes) -> Iterator[Place]:
    """The members that differ, and where in them; else what the archive itself says of one."""
    with zipfile.ZipFile(BytesIO(a)) as first, zipfile.ZipFile(BytesIO(b)) as second:
        one, other = ({info.filename: info for info in archive.infolist()} for archive in (first, second))
        if [*one] != [*other]:
            yield "members", *_around(", ".join(one), ", ".join(other))
        for name in (name for name in one if name in other):
            if first.read(name) != second.read(name):
                for where, x, y in _places(name, first.read(name), second.read(name)):
                    yield f"member {name}: {where}", x, y
                continue
            for field in ("date_time", "external_attr", "extra", "comment", "compress_type", "header_offset"):
                x, y = (repr(getattr(infos[name], field)) for infos in (one, other))
                if x != y:
                    yield f"member {name}: its {field}", x, y


def _safetensors(a: bytes, b: bytes) -> Iterator[Place]:
    """The tensors that differ, with how many of their bytes; float32 values with the largest difference."""
    first, second = (_header(data) for data in (a, b))
    if [*first] != [*second]:
        yield "tensors", *_around(", ".join(first), ", ".join(second))
    for name in (name for name in first if name in second):
        (entry, data), (entry2, data2) = first[name], second[name]
        if entry != entry2:
            yield f"tensor {name}", json.dumps(entry), json.dumps(entry2)
        elif data != data2:
            yield f"tensor {name} {entry['dtype']} {entry['shape']}", *_unequal(entry["dtype"], data, data2)


def _unequal(dtype: str, a: bytes, b: bytes) -> tuple[str, str]:
    """The first two values of a tensor that differ."""
    known = {"F32": np.float32, "F16": np.float16, "F64": np.float64, "I64": np.int64, "I32": np.int32, "I8": np.int8}
    values = [np.frombuffer(data, known.get(dtype, np.uint8)) for data in (a, b)]
    place = int(np.flatnonzero(values[0] != values[1])[0])
    count = int((values[0] != values[1]).sum())
    return f"value {place} of {values[0].size} is {values[0][place]!r}", f"{values[1][place]!r} ({count} differ)"


def _header(data: bytes) -> dict[str, tuple[dict[str, Any], bytes]]:
    """The tensors of a safetensors file by name: what its header says of them, and their bytes."""
    length = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:length])
    notes = {"__metadata__": (header.pop("__metadata__", {}), b"")}
    return {**notes, **{name: (e, data[length:][slice(*e["data_offsets"])]) for name, e in header.items()}}


def _onnx(a: bytes, b: bytes) -> Iterator[Place]:
    """The initialisers and nodes that differ; else the lines of the model's text."""
    import onnx

    first, second = (onnx.load_model_from_string(data) for data in (a, b))
    graphs = first.graph, second.graph
    for kind in ("initializer", "node", "input", "output", "value_info"):
        one, other = (
            {getattr(item, "name", "") or str(k): item for k, item in enumerate(getattr(graph, kind))}
            for graph in graphs
        )
        if [*one] != [*other]:
            yield f"{kind}s", *_around(", ".join(one), ", ".join(other))
        for name in (name for name in one if name in other and one[name] != other[name]):
            values = [item[name].raw_data if kind == "initializer" else b"" for item in (one, other)]
            if values[0] != values[1]:
                yield from ((f"{kind} {name}: {where}", x, y) for where, x, y in _bytes(*values))
            else:
                yield f"{kind} {name}", *_around(str(one[name]), str(other[name]))
    for model in (first, second):
        model.ClearField("graph")
    yield from _lines(str(first).splitlines(), str(second).splitlines())


def _stablehlo(a: bytes, b: bytes) -> Iterator[Place]:
    """The lines of StableHLO that differ."""
    import jax

    texts = [jax.export.deserialize(bytearray(data)).mlir_module().splitlines() for data in (a, b)]
    yield from _lines(*texts)


_READERS: Mapping[str, Callable[[bytes, bytes], Iterator[Place]]] = {
    ".json": _json,
    ".pt2": _zip,
    ".safetensors": _safetensors,
    **({".onnx": _onnx} if importlib.util.find_spec("onnx") else {}),
    **({".jaxexp": _stablehlo} if importlib.util.find_spec("jax") else {}),
}
"""Ending of a file -> how two of them are compared."""
