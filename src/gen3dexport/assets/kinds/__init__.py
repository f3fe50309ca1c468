"""The kinds of assets: the modules of this folder. Adding a kind is adding a module here.

A kind's module is named after it and has what `Kind` says. What the asset is, a frozen dataclass with the class
variable `kind`, stands in the module of that name beside this folder: what draws and writes it need not know the kind.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.asset import Asset
from gen3dexport.assets.file_format import FileFormat
from gen3dexport.assets.score import Scale, Score
from gen3dexport.errors import UsageError


class Kind(Protocol):
    """What the module of a kind has.

    Attributes:
        KIND: its name; FILES: ending -> what writes such a file.
        SCALES: what its scores are on, in their order; none where that depends on the asset.

    It may have `facts(asset)`: what it says of an asset beyond its size, by name, each with a `summary` for people.
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
        """A picture [H, W, 3] of an asset without a problem: a view, a contact sheet of views, or a plot."""

    def scores(self, asset: Any, reference: Any, /) -> tuple[Score, ...]:
        """How alike the two are; the first score lies in [0, 1] and is 1 for equal assets."""


@cache
def names() -> tuple[str, ...]:
    """The kinds that there are, by name."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def of(asset: Asset | str) -> Kind:
    """The module of an asset's kind, or of the kind of that name.

    Raises:
        UsageError: for a name that is none.
    """
    name = asset if isinstance(asset, str) else asset.kind
    if name not in names():
        raise UsageError(f"kind {name!r}: unknown; there are {', '.join(names())}")
    return cast(Kind, import_module(f"{__name__}.{name}"))


def against(reference: Asset) -> Callable[[Any], tuple[Score, ...]]:
    """`scores` against this reference, for many assets: a kind that has `against` draws the reference once."""
    module = of(reference)
    own: Callable[[Any], Callable[[Any], tuple[Score, ...]]] | None = getattr(module, "against", None)
    return own(reference) if own is not None else lambda asset: module.scores(asset, reference)


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
