"""What the host needs to run TripoSR's pipeline, and what a recipe may set of it. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from gen3dexport.documents.record import Record
from gen3dexport.models.triposr.host.model import CONFIG, Model, read_model
from gen3dexport.models.weights import WeightFiles

PositionTable = Literal["factor", "size"]
"""How the encoder's position table is resampled: by the factor (patches + 0.1) / stored, as transformers 4.35 does,
which upstream pins; or to the exact size, as later versions do."""


class Knobs(Record):
    """What a recipe may set; what it does not set is as released.

    Attributes:
        chunk: points that one call of the query program takes.
        resolution: grid points along an edge of the cube that the surface is found on.
        coarse: grid steps between the points that are queried first; between them only cells that the surface crosses
            are. 1 queries the whole grid.
        threshold: density of the surface.
        foreground_ratio: side of the subject over that of the picture that the encoder gets.
        position_table: see `PositionTable`.
    """

    WEIGHTS: ClassVar[WeightFiles] = WeightFiles(CONFIG, (CONFIG, "model*.safetensors*", "model.ckpt"), "model*.*")

    chunk: int | None = Field(default=None, ge=8, le=1 << 22)
    resolution: int | None = Field(default=None, ge=2, le=1024)
    coarse: int | None = Field(default=None, ge=1, le=64)
    threshold: float | None = Field(default=None, gt=0)
    foreground_ratio: float | None = Field(default=None, gt=0, le=1)
    position_table: PositionTable | None = None


class Settings(Record):
    """Everything the host needs to run this pipeline; stored in the manifest. See `Knobs` for the other fields.

    Attributes:
        model: the networks' configuration.
    """

    RUN_FIELDS: ClassVar[Mapping[str, str]] = {
        name: name for name in ("resolution", "coarse", "threshold", "foreground_ratio")
    }

    model: Model
    chunk: int = Field(default=8192, ge=8, le=1 << 22)
    resolution: int = Field(default=256, ge=2, le=1024)
    coarse: int = Field(default=4, ge=1, le=64)
    threshold: float = Field(default=25.0, gt=0)
    foreground_ratio: float = Field(default=0.85, gt=0, le=1)
    position_table: PositionTable = "factor"
    asset_kinds: tuple[str, ...] = ("mesh",)
    left_out: tuple[str, ...] = ()


def read_settings(folder: Path, knobs: Knobs, random_weights: bool) -> Settings:
    """Settings of a checkpoint folder with the recipe's knobs on top.

    Raises:
        UsageError: when the configuration is missing, or is not one of this family.
    """
    return Settings(model=read_model(folder), **knobs.model_dump(exclude_none=True))
