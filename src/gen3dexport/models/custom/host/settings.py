"""What the host needs to run one's own model, and what a recipe may set of it. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from gen3dexport.documents.caches import private_folder
from gen3dexport.documents.record import Record
from gen3dexport.errors import UsageError
from gen3dexport.models.custom.host.asset import Meaning, Surface
from gen3dexport.models.weights import WeightFiles

OWN = "factory"
"""As a recipe's `weights`: the values that the factory's modules have."""
EXAMPLES = "examples.safetensors"
"""The host file with example inputs, `K.NAME` of example K."""

Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]
Size = Annotated[int, Field(ge=1, le=2**31)]
Argument = bool | int | float | str | None | list[bool | int | float | str]


@dataclass(frozen=True)
class FactoryWeights(WeightFiles):
    """A folder with NAME.safetensors for each component, or `factory`."""

    def folder(self, weights: str, where: str) -> Path:
        """The folder of `weights`; for `factory` one without weights.

        Raises:
            UsageError: when there is no such folder, or it is a file.
        """
        if weights == OWN:
            return private_folder("factories")
        path = Path(weights).expanduser()
        if path.is_file():
            raise UsageError(
                f"{where}: weights {weights!r}: a file, where a folder is needed that has NAME.safetensors for each "
                f"component (model.safetensors for a single module); write weights: {path.parent}"
            )
        if "://" not in weights and not path.is_dir():
            raise UsageError(
                f"{where}: weights {weights!r}: no such folder; give one with NAME.safetensors for each component, or "
                f"write `weights: {OWN}` for the values that the factory gives"
            )
        return path if path.is_dir() else super().folder(weights, where)


class Knobs(Record):
    """What a recipe may set: its `model`.

    Attributes:
        factory: `package.module:function` (or a class), called to make the module, or a `Pipeline` of several.
        arguments: what it is called with, by name.
        example: a .safetensors file of real inputs by name, where the factory gives none; from the current folder.
        inputs: shapes of inputs by name, for examples of normal noise, where there is nothing better.
        outputs: names of what a single module returns, in order.
        asset: what the outputs mean.
    """

    WEIGHTS: ClassVar[WeightFiles] = FactoryWeights("model.safetensors", ("*.safetensors",), "*.safetensors")

    factory: str = ""
    arguments: dict[str, Argument] = {}
    example: str = ""
    inputs: dict[Word, tuple[Size, ...]] = {}
    outputs: tuple[Word, ...] = ()
    asset: Meaning | None = None


class Spec(Record):
    """Shape and type of an array."""

    shape: tuple[int, ...]
    dtype: str


class PartSettings(Record):
    """One component: names of what it takes and gives, in the order of its network.

    Attributes:
        returns: the outputs' own names in what the module returns.
    """

    name: Word
    inputs: tuple[Word, ...] = Field(min_length=1)
    outputs: tuple[Word, ...] = Field(min_length=1)
    returns: tuple[str, ...] = Field(min_length=1)


class Settings(Record):
    """Everything that the host needs to run the pipeline; stored in the manifest.

    Attributes:
        factory, arguments: where the networks came from; for people, nothing imports it.
        source: SHA-256 of the files of the factory's code, by module.
        examples: SHA-256 of the example inputs; how_many there are.
        own_weights: SHA-256 of the values that the factory gave, where no checkpoint has others.
        parts: the components; takes: what a request gives, by name; gives: what parts return, by name.
        asset: what the outputs mean.
    """

    RUN_FIELDS: ClassVar[Mapping[str, str]] = {"resolution": "asset.resolution"}

    factory: str
    arguments: dict[str, Argument] = {}
    source: dict[str, str] = {}
    examples: str
    how_many: int = Field(ge=1)
    own_weights: str = ""
    parts: tuple[PartSettings, ...] = Field(min_length=1)
    takes: dict[Word, Spec]
    gives: dict[Word, Spec]
    asset: Meaning | None = None
    left_out: tuple[str, ...] = ()

    @property
    def asset_kinds(self) -> tuple[str, ...]:
        """Arrays by name, and what they mean."""
        return ("tensors",) if self.asset is None else (self.asset.kind, "tensors")

    @property
    def asked(self) -> dict[str, Spec]:
        """What a request gives: without the points that the host fills in."""
        filled = self.asset.points if isinstance(self.asset, Surface) else None
        return {name: spec for name, spec in self.takes.items() if name != filled}


def examples_file(settings: Settings) -> Path:
    """Where the example inputs of these settings lie while a bundle is built."""
    return private_folder("factories") / f"{settings.examples}.safetensors"
