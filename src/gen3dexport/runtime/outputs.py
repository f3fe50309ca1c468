"""The files that a run's assets go into: checked before a bundle is read, chosen by what it makes, then written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gen3dexport.assets import files
from gen3dexport.assets.edits import Edits
from gen3dexport.pages import viewer

Chosen = Mapping[Path, str]
"""The kind of asset that goes into each file."""


@dataclass(frozen=True)
class Outputs:
    """What a user asks to be written.

    Attributes:
        paths: files; their endings say what goes in. kind: of asset that every file must hold, or "".
        edits: what is changed of the assets on their way into the files.
        picture: write a turntable picture beside the first file, too.
    """

    paths: tuple[Path, ...]
    kind: str = ""
    edits: Edits = field(default_factory=Edits)
    picture: bool = False

    def check(self) -> None:
        """Refuse what could not be written, before any work is done for it.

        Raises:
            UsageError: for an unknown ending or kind, or a place that cannot be written.
        """
        for path in self.paths:
            files.check_output(path, self.kind, viewer.FILES)

    def choose(self, made: Sequence[str]) -> Chosen:
        """The kind of asset for each file, of the kinds that are made.

        Raises:
            UsageError: when one cannot be, or cannot be changed as asked.
        """
        chosen = {path: files.choose(path, made, self.kind, viewer.FILES) for path in self.paths}
        self.edits.check(list(chosen.values()))
        return chosen

    def factor(self, made: Mapping[str, Any], chosen: Chosen) -> float:
        """Metres in a unit, by the asset of the first file."""
        return self.edits.factor(made[chosen[self.paths[0]]])

    def write(
        self, made: Mapping[str, Any], chosen: Chosen, title: str, factor: float, number: int | None = None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Write the assets; what each file is, and the path of the picture.

        Args:
            factor: what `factor` gives; of a film, for its first frame, so that every frame has one scale.
            number: of a frame: it goes into the files' names before the ending.

        Raises:
            UsageError: when a place cannot be written.
        """
        rows = []
        for path, kind in chosen.items():
            place = path if number is None else numbered(path, number)
            written = self.edits.applied(made[kind], factor, files.format_of(kind, path, viewer.FILES))
            files.write(written, place, title, viewer.FILES)
            rows.append({"path": str(place), "kind": kind, **files.counts(written)})
        return rows, self._draw(made[chosen[self.paths[0]]], number) if self.picture else None

    def facts(self, made: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """What the assets say beyond their sizes, by name; each with a `summary` for people."""
        return files.facts(made)

    def _draw(self, asset: Any, number: int | None) -> str:
        from gen3dexport.assets.draw import render

        path = self.paths[0].with_suffix(".png")
        if path in self.paths:  # a map of depth in 16 bits
            path = path.with_name(f"{path.stem}-picture.png")
        path = path if number is None else numbered(path, number)
        render.save_png(files.turntable(self.edits.shaped(asset)), path)
        return str(path)


def numbered(path: Path, number: int) -> Path:
    """A frame's file, as programs that read films number them: `depth.exr` and 12 give `depth.0012.exr`."""
    return path.with_name(f"{path.stem}.{number:04d}{path.suffix}")
