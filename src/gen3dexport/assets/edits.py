"""What users ask of a run's files beyond their format: sizes, fewer faces, no crumbs; each by the kinds that have it.

A kind's module may have `EDITS`, option -> (asset, value) -> asset, and, with `size` in it, `extent(asset)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from gen3dexport.assets import kinds
from gen3dexport.assets.asset import Asset
from gen3dexport.assets.file_format import FileFormat
from gen3dexport.errors import UsageError

Edit = Callable[[Any, Any], Any]
_HIGHEST_DEGREE = 3


@dataclass(frozen=True)
class Edits:
    """What is asked for, in the order in which it is done; None asks for nothing.

    Attributes:
        largest_part: keep the connected part with the largest area alone.
        max_faces: so many triangles at most.
        sh_degree: degree of the colours' spherical harmonics, zeros where the asset has none.
        size: the longest edge of the bounding box of the first file's asset, in metres; all files are scaled alike.
    """

    largest_part: bool | None = None
    max_faces: int | None = None
    sh_degree: int | None = None
    size: float | None = None

    def check(self, written: Sequence[str]) -> None:
        """Refuse what cannot be done with the kinds that are written.

        Raises:
            UsageError: for a value out of range, an option that no file's kind has, or a size that one does not have.
        """
        if self.size is not None and not 0 < self.size < float("inf"):
            raise UsageError(f"--size {self.size:g}: needs a length in metres above 0")
        if self.sh_degree is not None and not 0 <= self.sh_degree <= _HIGHEST_DEGREE:
            raise UsageError(f"--sh-degree {self.sh_degree}: needs 0 to {_HIGHEST_DEGREE}")
        for name in self._asked():
            having = [kind for kind in kinds.names() if name in _of(kind)]
            wanting = [kind for kind in written if kind not in having]
            if wanting and (name == "size" or len(wanting) == len(written)):
                raise UsageError(f"{_option(name)}: is of {', '.join(having)}; a file of this run holds {wanting[0]}")

    def applied(self, asset: Asset, factor: float, format_: FileFormat) -> Any:
        """The asset as the file of that format holds it: in the file's unit where its size in metres is asked for, or
        known.

        Args:
            factor: what `factor` gives for the run's first asset.
        """
        changed = self.shaped(asset)
        metres = factor if self.size is not None else getattr(asset, "unit", None)
        if metres is None or not format_.up:
            return changed
        return _of(asset.kind)["size"](changed, metres * format_.per_metre)

    def factor(self, first: Asset) -> float:
        """Metres in a unit: what every file is scaled by, for the asset of the run's first file.

        Raises:
            UsageError: when that asset has no extent.
        """
        if self.size is None:
            return 1.0
        extent: float = kinds.of(first).extent(self.shaped(first))  # type: ignore[attr-defined]
        if not extent > 0:
            raise UsageError("--size: the asset is a point, which has no size to change")
        return self.size / extent

    def _asked(self) -> dict[str, Any]:
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in found.items() if value is not None}

    def shaped(self, asset: Asset) -> Any:
        """The asset with everything done but its size, which files in different units have different ones of."""
        changed: Any = asset
        for name, value in self._asked().items():
            if name != "size" and name in _of(asset.kind):
                changed = _of(asset.kind)[name](changed, value)
        return changed


def _of(kind: str) -> Mapping[str, Edit]:
    edits: Mapping[str, Edit] = getattr(kinds.of(kind), "EDITS", {})
    return edits


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
