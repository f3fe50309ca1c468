"""Compare what an implementation has made with a conformance kit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile

import numpy as np

from gen3dexport.assets import kinds
from gen3dexport.errors import UsageError, VerificationError
from gen3dexport.host_steps.kit import Kit, KitRequest

ARRAYS_FROM_EQUAL_VALUES = 1e-6
"""How far floats of an asset may be when the value that it is made of is the kit's bit for bit."""


@dataclass(frozen=True)
class Compared:
    """One thing of the kit against the implementation's.

    Attributes:
        name: its file, or `K/KIND` of an asset.
        found: relative L2 or first score; None where the implementation has none.
        limit: a ceiling of the relative L2, a floor of a score.
        passed: whether it is within the limit; said: what is wrong, or "".
    """

    name: str
    found: float | None
    limit: float
    passed: bool
    said: str = ""


def check(kit: Kit, folder: Path, own: Path) -> list[Compared]:
    """Every value and asset of the kit in `folder`, compared with the files of the same names in `own`.

    Values and assets must all be there; latents and noise are compared where they are.

    Raises:
        UsageError: when `own` is no folder or has no file of the kit's names.
        VerificationError: when a file of the kit cannot be read.
    """
    if not own.is_dir():
        raise UsageError(f"{own}: no folder; name the one that your implementation writes its values into")
    rows = [row for request in kit.requests for row in _request(kit, request, folder, own)]
    rows += [_value(case.first, folder, own, 0.0) for case in kit.noise if (own / case.first).is_file()]
    if all(row.found is None and not row.said.startswith("cannot") for row in rows):
        names = ", ".join(row.name for row in rows[:3])
        raise UsageError(f"{own}: has none of the kit's files ({names}, ...); write values under the kit's names")
    return rows


def _request(kit: Kit, request: KitRequest, folder: Path, own: Path) -> Iterator[Compared]:
    for step in request.steps:
        for value, file in step.values.items():
            limit = kit.tolerances[value].relative_l2
            yield from (_value(latent, folder, own, limit) for latent in step.latents if (own / latent).is_file())
            yield _value(file, folder, own, limit)
    files = {value: file for step in request.steps for value, file in step.values.items()}
    for kind, arrays in request.assets.items():
        exact = _same(folder / files[kit.host_steps.assets[kind].value], own / files[kit.host_steps.assets[kind].value])
        yield _asset(kind, arrays, folder, own, kit.scores[kind], exact)


def _value(file: str, folder: Path, own: Path, limit: float) -> Compared:
    expected = _kit_array(folder / file)
    found, said = _array(own / file)
    if found is None:
        return Compared(file, None, limit, False, said)
    if (found.shape, found.dtype) != (expected.shape, expected.dtype):
        said = f"is {found.dtype} {list(found.shape)}, and the kit's is {expected.dtype} {list(expected.shape)}"
        return Compared(file, None, limit, False, f"cannot be compared: {said}")
    if limit == 0:
        same = bool(np.array_equal(found, expected))
        return Compared(file, relative_l2(found, expected), limit, same, "" if same else "must be equal bit for bit")
    far = relative_l2(found, expected)
    return Compared(file, far, limit, far <= limit, "" if far <= limit else "too far")


def relative_l2(found: np.ndarray, expected: np.ndarray) -> float:
    """Norm of the difference over the expected one's norm; infinite where `found` is not finite."""
    difference = float(np.linalg.norm(found.astype(np.float64) - expected.astype(np.float64)))
    size = float(np.linalg.norm(expected.astype(np.float64)))
    if not math.isfinite(difference):
        return math.inf
    return difference / size if size else difference


def _asset(kind: str, arrays: dict[str, str], folder: Path, own: Path, floor: float, exact: bool) -> Compared:
    """An asset's first score; and its arrays one by one where the value that it is made of is the kit's."""
    name = next(iter(arrays.values())).partition("/")[0] + f"/{kind}"
    expected = {key: _kit_array(folder / file) for key, file in arrays.items()}
    found: dict[str, np.ndarray] = {}
    for key, file in arrays.items():
        array, said = _array(own / file)
        if array is None and not (said.startswith("missing") and key in _OPTIONAL):
            return Compared(name, None, floor, False, f"{file}: {said}")
        if array is not None:
            found[key] = array
    try:
        score = first_score(kind, kinds.of(kind).from_arrays(found), kinds.of(kind).from_arrays(expected))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        return Compared(name, None, floor, False, f"cannot be compared: {error}")
    if not score >= floor:
        return Compared(name, score, floor, False, "too far")
    if exact and (wrong := [key for key, array in found.items() if not _near(array, expected[key])]):
        return Compared(name, score, floor, False, f"made of the kit's own value, and {', '.join(wrong)} are others")
    return Compared(name, score, floor, True)


def first_score(kind: str, found: Any, expected: Any) -> float:
    """The first score of an asset's kind; 1 where every array of both is equal (a mesh's is of points drawn on it).

    Raises:
        ValueError: when the two cannot be compared.
    """
    ours, theirs = kinds.of(kind).arrays(found), kinds.of(kind).arrays(expected)
    if ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours):
        return 1.0
    value: float = kinds.of(kind).scores(found, expected)[0].value
    return value


_OPTIONAL = ("normals", "colors", "cell", "unit")
"""Arrays of a mesh that an implementation may leave to its renderer."""


def _near(found: np.ndarray, expected: np.ndarray) -> bool:
    if found.shape != expected.shape:
        return False
    if expected.dtype.kind != "f":
        return bool(np.array_equal(found, expected))
    return bool(np.all(np.abs(found.astype(np.float64) - expected) <= ARRAYS_FROM_EQUAL_VALUES))


def _same(a: Path, b: Path) -> bool:
    found, _ = _array(b)
    return found is not None and np.array_equal(_kit_array(a), found)


def _kit_array(path: Path) -> np.ndarray:
    array, said = _array(path)
    if array is None:
        raise VerificationError(f"{path}: {said}; make the kit again")
    return array


def _array(path: Path) -> tuple[np.ndarray | None, str]:
    """An array file; without it, why."""
    if not path.is_file():
        return None, "missing"
    try:
        found: Any = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError, SyntaxError, BadZipFile, TokenError) as error:
        return None, f"cannot be read as .npy: {error}"
    return (found, "") if isinstance(found, np.ndarray) else (None, "cannot be read: no single array")
