"""The kinds of assets: the modules of this folder that have a `KIND`. Adding a kind is adding a module.

A kind's module has what `Kind` says. Its class is a frozen dataclass with the class variable `kind`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any, ClassVar, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from gen3dexport import assets
from gen3dexport.assets.file_format import FileFormat
from gen3dexport.assets.score import Scale, Score
from gen3dexport.errors import UsageError


class Asset(Protocol):
    """An asset of any kind."""

    kind: ClassVar[str]


class Kind(Protocol):
    """What the module of a kind has.

    Attributes:
        KIND: its name; FILES: ending -> what writes such a file.
        SCALES: what its scores are on, in their order; none where that depends on the asset.
    """

    KIND: str
    FILES: Mapping[str, FileFormat]
    SCALES: tuple[Scale, ...]

    def arrays(self, asset: Any, /) -> dict[str, NDArray[Any]]:
        """All that the asset is, by name; lossless."""

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]], /) -> Any:
        """The asset that `arrays` gave these of."""

    def problem(self, asset: Any, /) -> str | None:
        """Why the asset is nothing (empty, not finite), to stand after a colon; else None."""

    def counts(self, asset: Any, /) -> dict[str, int]:
        """How large it is."""

    def picture(self, asset: Any, /) -> NDArray[np.uint8]:
        """A picture [H, W, 3] of an asset without a problem: a contact sheet of views, or a plot."""

    def scores(self, asset: Any, reference: Any, /) -> tuple[Score, ...]:
        """How alike the two are; the first score lies in [0, 1] and is 1 for equal assets."""


@cache
def _modules() -> Mapping[str, Kind]:
    names = sorted(m.name for m in pkgutil.iter_modules(assets.__path__) if not m.ispkg)
    found = (import_module(f"{assets.__name__}.{name}") for name in names)
    return {module.KIND: cast(Kind, module) for module in found if hasattr(module, "KIND")}


def names() -> tuple[str, ...]:
    """The kinds that there are, by name."""
    return tuple(_modules())


def of(asset: Asset | str) -> Kind:
    """The module of an asset's kind, or of the kind of that name.

    Raises:
        UsageError: for a name that is none.
    """
    name = asset if isinstance(asset, str) else asset.kind
    if name not in _modules():
        raise UsageError(f"kind {name!r}: unknown; there are {', '.join(names())}")
    return _modules()[name]


def to_arrays(made: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Assets by kind as one set of arrays, each named KIND.NAME; lossless."""
    return {f"{kind}.{name}": values for kind, asset in made.items() for name, values in of(kind).arrays(asset).items()}


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The assets by kind that `to_arrays` made these of; arrays of other names are passed over."""
    found: dict[str, dict[str, NDArray[Any]]] = {}
    for key, values in arrays.items():
        kind, dot, name = key.partition(".")
        if dot and kind in names():
            found.setdefault(kind, {})[name] = values
    return {kind: of(kind).from_arrays(values) for kind, values in found.items()}
