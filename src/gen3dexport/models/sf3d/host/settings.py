"""What the host needs to run SF3D's pipeline, and what a recipe may set of it. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from gen3dexport.documents.record import Record
from gen3dexport.models.sf3d.host.model import CONFIG, Model, read_model
from gen3dexport.models.weights import WeightFiles

GEOMETRY = ("density", "vertex_offset")
"""Heads of the geometry component."""
TEXTURE = ("features", "perturb_normal")
"""Heads of the texture component."""
OUTPUTS: Mapping[str, tuple[str, ...]] = {
    "image_encoder": ("features",),
    "backbone": ("planes",),
    "material": ("beta",),
    "geometry": GEOMETRY,
    "texture": TEXTURE,
}
"""Outputs by component."""


class Knobs(Record):
    """What a recipe may set; what it does not set is as released.

    Attributes:
        chunk: points that one call of the geometry and the texture program takes.
        resolution: cells along an edge of the cube that the surface is found in.
        coarse: cells between the points that are queried first; between them only cells that the surface crosses are.
            1 queries the whole grid.
        threshold: density of the surface.
        foreground_ratio: side of the subject over that of the picture that the encoder gets.
        texture_size: edge of the textures, in texels.
        max_faces: triangles at most, before the textures are baked; 0 for all.
    """

    WEIGHTS: ClassVar[WeightFiles] = WeightFiles(CONFIG, (CONFIG, "model*.safetensors*"), "model*.*")

    chunk: int | None = Field(default=None, ge=8, le=1 << 22)
    resolution: int | None = Field(default=None, ge=2, le=1023)
    coarse: int | None = Field(default=None, ge=1, le=64)
    threshold: float | None = Field(default=None, gt=0)
    foreground_ratio: float | None = Field(default=None, gt=0, le=1)
    texture_size: int | None = Field(default=None, ge=16, le=8192)
    max_faces: int | None = Field(default=None, ge=0)


class Settings(Record):
    """Everything the host needs to run this pipeline; stored in the manifest. See `Knobs` for the other fields.

    Attributes:
        model: the networks' configuration.
    """

    RUN_FIELDS: ClassVar[Mapping[str, str]] = {
        name: name for name in ("resolution", "coarse", "threshold", "foreground_ratio", "texture_size", "max_faces")
    }

    model: Model
    chunk: int = Field(default=32768, ge=8, le=1 << 22)
    resolution: int = Field(default=160, ge=2, le=1023)
    coarse: int = Field(default=4, ge=1, le=64)
    threshold: float = Field(default=10.0, gt=0)
    foreground_ratio: float = Field(default=0.85, gt=0, le=1)
    texture_size: int = Field(default=1024, ge=16, le=8192)
    max_faces: int = Field(default=0, ge=0)
    asset_kinds: tuple[str, ...] = ("mesh",)
    left_out: tuple[str, ...] = ()


def read_settings(folder: Path, knobs: Knobs, random_weights: bool) -> Settings:
    """Settings of a checkpoint folder with the recipe's knobs on top.

    Raises:
        UsageError: when the configuration is missing, or is not one of this family.
    """
    model = read_model(folder)
    own = {"resolution": model.isosurface_resolution, "threshold": model.isosurface_threshold}
    return Settings(**{"model": model, **own, **knobs.model_dump(exclude_none=True)})
