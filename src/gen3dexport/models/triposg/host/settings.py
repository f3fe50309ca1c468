"""What the host needs to run TripoSG's pipeline, and what a recipe may set of it. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from gen3dexport.documents.record import Record
from gen3dexport.models.declaration import SamplerKnobs
from gen3dexport.models.flow_sampler import Schedule
from gen3dexport.models.triposg.host.model import INDEX, Model, read_model
from gen3dexport.models.weights import WeightFiles

PositionTable = Literal["factor", "size"]
"""How the encoder's position table is resampled: by the factor (patches + 0.1) / stored, as transformers before 4.45
does it; or to the exact size, as later versions do."""


class Knobs(Record):
    """What a recipe may set; what it does not set is as released.

    Attributes:
        tokens: vectors of a latent set.
        steps: of the sampler; guidance_scale: g in v = u + g (c - u), 1 and less for none; shift: of its times.
        chunk: points that one call of the query program takes.
        resolution: grid points along an edge of the cube that the surface is found on.
        coarse: grid steps between the points that are queried first; 1 queries the whole grid.
        position_table: see `PositionTable`.
    """

    WEIGHTS: ClassVar[WeightFiles] = WeightFiles(INDEX, (INDEX, "*/*.json", "*/*.safetensors"))

    tokens: int | None = Field(default=None, ge=1, le=1 << 14)
    steps: int | None = Field(default=None, ge=1, le=1000)
    guidance_scale: float | None = Field(default=None, ge=0, le=100)
    shift: float | None = Field(default=None, gt=0, le=1000)
    chunk: int | None = Field(default=None, ge=8, le=1 << 22)
    resolution: int | None = Field(default=None, ge=2, le=1024)
    coarse: int | None = Field(default=None, ge=1, le=64)
    position_table: PositionTable | None = None


class Settings(Record):
    """Everything the host needs to run this pipeline; stored in the manifest. See `Knobs` for the other fields.

    Attributes:
        model: the networks' configuration.
    """

    RUN_FIELDS: ClassVar[Mapping[str, str]] = {name: name for name in ("resolution", "coarse")}

    model: Model
    tokens: int = Field(default=2048, ge=1, le=1 << 14)
    steps: int = Field(default=50, ge=1, le=1000)
    guidance_scale: float = Field(default=7.0, ge=0, le=100)
    shift: float = Field(default=1.0, gt=0, le=1000)
    chunk: int = Field(default=8192, ge=8, le=1 << 22)
    resolution: int = Field(default=256, ge=2, le=1024)
    coarse: int = Field(default=4, ge=1, le=64)
    position_table: PositionTable = "size"
    asset_kinds: tuple[str, ...] = ("mesh",)
    left_out: tuple[str, ...] = ()

    @property
    def schedule(self) -> Schedule:
        """The sampler's steps."""
        return schedule(self.steps, self.guidance_scale, self.shift)

    @property
    def sampler(self) -> SamplerKnobs:
        """The flow's sampler, as knobs."""
        steps, unguided = self.schedule, {"guidance_scale": 1.0}
        return SamplerKnobs("", self.steps, steps.calls, steps, {"rescale_t": "shift"}, unguided)


def schedule(steps: int, guidance_scale: float, shift: float) -> Schedule:
    """The steps of a rectified flow whose velocity points from noise to data: v = u + g (c - u), where g is above 1."""
    return Schedule(steps, max(guidance_scale - 1, 0.0), (0.0, 1.0), shift, toward_data=True)


def read_settings(folder: Path, knobs: Knobs, random_weights: bool) -> Settings:
    """Settings of a checkpoint folder with the recipe's knobs on top.

    Raises:
        UsageError: when the configuration is missing, or is not one of this family.
    """
    model = read_model(folder)
    return Settings(**{"model": model, "shift": model.scheduler.shift, **knobs.model_dump(exclude_none=True)})
