"""The arrays of a request, held to what the programs take. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from gen3dexport.arrays import on_host
from gen3dexport.documents.shipped import did_you_mean
from gen3dexport.errors import UsageError
from gen3dexport.models.custom.host.settings import EXAMPLES, Settings, Spec

_NOISE = 0.1


def checked(given: Mapping[str, Any], wanted: Mapping[str, Spec], where: str) -> dict[str, NDArray[Any]]:
    """The arrays in the types of the programs.

    Raises:
        UsageError: with every one that is missing, unknown, misshapen, of another kind of numbers, or not finite.
    """
    problems = [f"{where}: {name} is missing: {described(spec)}" for name, spec in wanted.items() if name not in given]
    found = {}
    for name, value in given.items():
        if name not in wanted:
            problems.append(f"{where}: {name!r} is no input{did_you_mean(name, wanted)}")
            continue
        array, spec = on_host(value), wanted[name]
        needed = np.dtype(spec.dtype)
        if array.shape != spec.shape:
            problems.append(f"{where}: {name} has shape {list(array.shape)}; needs {described(spec)}")
        elif array.dtype.kind != needed.kind and not (array.dtype.kind in "iu" and needed.kind in "iu"):
            problems.append(f"{where}: {name} is of type {array.dtype}; needs {described(spec)}")
        elif array.dtype.kind == "f" and not np.isfinite(array).all():
            problems.append(f"{where}: {name} holds NaN or infinity")
        elif array.dtype.kind in "iu" and array.size and not _fits(array, needed):
            problems.append(f"{where}: {name} holds numbers that {needed} cannot; needs {described(spec)}")
        else:
            found[name] = np.ascontiguousarray(array, needed)
    if problems:
        raise UsageError.of(problems)
    return {name: found[name] for name in wanted}


def described(spec: Spec) -> str:
    """`float32 [1, 3, 64, 64]`."""
    return f"{spec.dtype} {list(spec.shape)}"


def example(settings: Settings, seed: int, files: Path) -> dict[str, NDArray[Any]]:
    """An example of a bundle: that of the seed, where there are so many; else the one of seed modulo their number,
    floating-point arrays with normal noise of a tenth of their own deviation.

    Args:
        files: folder of host files.

    Raises:
        UsageError: when the file is missing or damaged.
    """
    path = files / EXAMPLES
    try:
        stored = load_file(path)
        known = {name: stored[f"{seed % settings.how_many}.{name}"] for name in settings.takes}
    except (OSError, SafetensorError, KeyError) as error:
        raise UsageError(f"{path}: no example inputs ({error}); build the bundle again") from error
    if seed < settings.how_many:
        return known
    rng = np.random.default_rng(seed)
    return {
        name: value
        if value.dtype.kind != "f"
        else (value + _NOISE * (float(value.std()) or 1.0) * rng.standard_normal(value.shape)).astype(value.dtype)
        for name, value in known.items()
    }


def _fits(array: NDArray[Any], needed: np.dtype[Any]) -> bool:
    limits = np.iinfo(needed)
    return bool(limits.min <= int(array.min()) and int(array.max()) <= limits.max)
