"""What the host needs to run terrain's pipeline, and what a recipe may set of it. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, ValidationError, model_validator

from gen3dexport.documents.record import Record, told
from gen3dexport.errors import UsageError
from gen3dexport.models.terrain_consistency.host.conditioning import EASIEST, HARDEST
from gen3dexport.models.terrain_consistency.host.model import Model, model_of
from gen3dexport.models.terrain_consistency.host.released import FILE, read_released
from gen3dexport.models.weights import WeightFiles

RELEASED = (
    "pypi://adaptive-terrain-diffusion==0.4.2/terrain_diffusion/weights/terrain_consistency_unet_difficulty100.onnx"
    "@95be54b4a39d58320e187a7ec533351c957f16a00be58773c86074828ee67887"
)
"""The published weights, which golden sets without their own are of."""


class Knobs(Record):
    """What a recipe may set; what it does not set is as published.

    Attributes:
        difficulty: of the terrain, 1 (a plain) to 100 (rocks), where a request names none.
        strength: of the variation, where a request brings heights: 0 hardly changes them, 1 forgets them.
        cells: along an edge of the map; a map larger than the network's is made in tiles.
        overlap: cells that neighbouring tiles share.
        cell: edge of a cell in metres.
    """

    WEIGHTS: ClassVar[WeightFiles] = WeightFiles(FILE, (FILE,), "*.onnx")

    difficulty: float | None = Field(default=None, ge=EASIEST, le=HARDEST)
    strength: float | None = Field(default=None, ge=0, le=1)
    cells: int | None = Field(default=None, ge=1, le=8192)
    overlap: int | None = Field(default=None, ge=0, le=4096)
    cell: float | None = Field(default=None, gt=0)


class Settings(Record):
    """Everything the host needs to run this pipeline; stored in the manifest. See `Knobs` for the other fields.

    Attributes:
        model: the network's sizes.
    """

    RUN_FIELDS: ClassVar[Mapping[str, str]] = {
        name: name for name in ("difficulty", "strength", "cells", "overlap", "cell")
    }

    model: Model
    difficulty: float = Field(default=50.0, ge=EASIEST, le=HARDEST)
    strength: float = Field(default=0.5, ge=0, le=1)
    cells: int = Field(default=0, ge=0, le=8192)
    overlap: int | None = Field(default=None, ge=0, le=4096)
    cell: float = Field(default=0.1, gt=0)
    asset_kinds: tuple[str, ...] = ("height_field",)
    left_out: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _tiles_fit(self) -> Self:
        if self.edge < self.model.size:
            raise ValueError(f"cells: {self.cells} are fewer than the network's {self.model.size}")
        if self.shared >= self.model.size:
            raise ValueError(f"overlap: {self.shared} cells are no fewer than a tile's {self.model.size}")
        return self

    @property
    def shared(self) -> int:
        """Cells that neighbouring tiles share: a quarter of a tile's edge where none are set."""
        return self.model.size // 4 if self.overlap is None else self.overlap

    @property
    def edge(self) -> int:
        """Cells along an edge of the map: the network's where none are set."""
        return self.cells or self.model.size


def read_settings(folder: Path, knobs: Knobs, random_weights: bool) -> Settings:
    """Settings of a checkpoint folder with the recipe's knobs on top.

    Raises:
        UsageError: when the file is missing or not one of this family, or a knob does not fit it.
        MissingError: when the package onnx is not installed.
    """
    found = read_released(folder)
    model = model_of(found.tensors, found.size, found.groups, found.head_channels, str(folder / FILE))
    try:
        return Settings(model=model, **knobs.model_dump(exclude_none=True))
    except ValidationError as error:
        raise UsageError(f"{folder / FILE}: knobs: {told(error)}") from error
