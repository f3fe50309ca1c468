"""A package read without running it: architectures of its kernels, libraries it needs, bytes of its weights."""

from __future__ import annotations

import json
import mmap
import struct
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gen3dexport.backends.aotinductor.elf import Elf
from gen3dexport.errors import VerificationError

if TYPE_CHECKING:
    from torch import Tensor

CONSTANTS_FILE = "constants.json"
"""Our table inside the package: name, dtype, shape, stride, offset and bytes of each weight."""

_WEIGHTS = "_binary_constants_bin_start"  # holds the size of the weights at the end of the library
_LOCAL_HEADER = 30
_ALIGNMENT = 64


@dataclass(frozen=True)
class Package:
    """An open package.

    Attributes:
        cubins: architecture -> number of kernels, e.g. {"sm_90": 13}.
        needed: libraries that its code is linked against.
        metadata: what the compiler wrote down.
        constants: the table of weights.
        weights: all their bytes; None when it has none.
    """

    cubins: Mapping[str, int]
    needed: tuple[str, ...]
    metadata: Mapping[str, str]
    constants: tuple[Mapping[str, Any], ...]
    weights: memoryview | None


def read_package(path: Path) -> Package:
    """The package at `path`, mapped into memory; nothing is extracted or run.

    Raises:
        VerificationError: when it is not a package, or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.partition("/")[2]: info for info in archive.infolist()}
            metadata = _json(archive, members, ".wrapper_metadata.json", {})
            constants = _json(archive, members, "extra/" + CONSTANTS_FILE, [])
        with path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, zipfile.BadZipFile, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise VerificationError(f"{path}: not a readable package ({error}); build it again") from error
    places = {name: _place(data, info) for name, info in members.items()}
    libraries = [place for name, place in places.items() if name.endswith(".wrapper.so")]
    if len(libraries) != 1:
        raise VerificationError(f"{path}: {len(libraries)} libraries inside, not one; build it again")
    ((start, size),) = libraries
    library = Elf(data, start)
    cubins = Counter(Elf(data, start).cuda_arch() for name, (start, _) in places.items() if name.endswith(".cubin"))
    weights = _weights(data, library, start, size) if constants else None
    return Package(dict(cubins), tuple(library.needed()), metadata, tuple(constants), weights)


def check_weights(package: Package, model: Mapping[str, Tensor]) -> dict[str, int]:
    """Compare every weight in the package with the model's tensor of that name, byte by byte; counts for the report.

    Raises:
        VerificationError: when one differs, or is not the model's.
    """
    wrong, end = [], max((row["offset"] + row["bytes"] for row in package.constants), default=0)
    if package.weights is not None and not end <= len(package.weights) < end + _ALIGNMENT:
        raise VerificationError(f"the package has {len(package.weights)} bytes of weights, and its table says {end}")
    for row in package.constants:
        tensor = model.get(row["name"])
        if tensor is None or package.weights is None or not _equal(package.weights, row, tensor):
            wrong.append(row["name"])
    if wrong:
        raise VerificationError(
            f"{len(wrong)} of {len(package.constants)} weights in the package are not the model's, first {wrong[0]}; "
            "the compiler is not the one that this build was checked with"
        )
    return {"count": len(package.constants), "bytes": sum(row["bytes"] for row in package.constants)}


def _equal(weights: memoryview, row: Mapping[str, Any], tensor: Tensor) -> bool:
    if [list(tensor.shape), list(tensor.stride()), str(tensor.dtype)] != [
        row["shape"],
        row["stride"],
        f"torch.{row['dtype']}",
    ]:
        return False
    import torch

    held = tensor.detach().as_strided((tensor.numel(),), (1,)).view(torch.uint8).numpy()  # in the order of its storage
    stored = np.frombuffer(weights[row["offset"] : row["offset"] + row["bytes"]], np.uint8)  # padded at the end
    return np.array_equal(stored[: held.size], held)


def _weights(data: memoryview, library: Elf, start: int, size: int) -> memoryview:
    place = library.symbol(_WEIGHTS)
    if place is None:
        raise VerificationError("the package's library has no weights; build it again")
    length, mark = struct.unpack_from("<QQ", data, start + place)
    end = start + size
    if length > size or struct.unpack_from("<Q", data, end - 8)[0] != mark:
        raise VerificationError("the weights at the end of the package's library are cut short; build it again")
    return data[end - length : end - 8]


def _place(data: memoryview, info: zipfile.ZipInfo) -> tuple[int, int]:
    """Where a member's bytes lie in the archive."""
    if info.compress_type != zipfile.ZIP_STORED:
        raise VerificationError(f"{info.filename}: compressed inside the package; build it again")
    name, extra = struct.unpack_from("<HH", data, info.header_offset + _LOCAL_HEADER - 4)
    return info.header_offset + _LOCAL_HEADER + name + extra, info.file_size


def _json(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], end: str, default: Any) -> Any:
    found = next((info for name, info in members.items() if name.endswith(end)), None)
    return json.loads(archive.read(found)) if found else default
