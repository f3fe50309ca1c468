"""What the host needs to run Hunyuan3D-2's pipeline, and what a recipe may set of it. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, ValidationError, model_validator

from gen3dexport.documents.record import Record, told
from gen3dexport.errors import UsageError
from gen3dexport.models.declaration import SamplerKnobs
from gen3dexport.models.flow_sampler import Schedule
from gen3dexport.models.hunyuan3d_2.host.model import CONFIG, Model, read_model
from gen3dexport.models.hunyuan3d_2.host.times import schedule
from gen3dexport.models.weights import WeightFiles


class Knobs(Record):
    """What a recipe may set; what it does not set is as released.

    Attributes:
        steps: of the sampler; guidance_scale: g in v = u + g (c - u), or what a distilled model is given.
        chunk: points that one call of the query program takes.
        resolution: grid points along an edge of the cube that the surface is found on.
        coarse: grid steps between the points that are queried first; 1 queries the whole grid.
    """

    WEIGHTS: ClassVar[WeightFiles] = WeightFiles(CONFIG, (CONFIG, "model.fp16.safetensors"))

    steps: int | None = Field(default=None, ge=2, le=1000)
    guidance_scale: float | None = Field(default=None, ge=0, le=100)
    chunk: int | None = Field(default=None, ge=8, le=1 << 22)
    resolution: int | None = Field(default=None, ge=2, le=1024)
    coarse: int | None = Field(default=None, ge=1, le=64)


class Settings(Record):
    """Everything the host needs to run this pipeline; stored in the manifest. See `Knobs` for the other fields.

    Attributes:
        model: the networks' configuration.
    """

    RUN_FIELDS: ClassVar[Mapping[str, str]] = {name: name for name in ("resolution", "coarse")}

    model: Model
    steps: int = Field(ge=2, le=1000)
    guidance_scale: float = Field(default=5.0, ge=0, le=100)
    chunk: int = Field(default=8192, ge=8, le=1 << 22)
    resolution: int = Field(default=385, ge=2, le=1024)
    coarse: int = Field(default=4, ge=1, le=64)
    asset_kinds: tuple[str, ...] = ("mesh",)
    left_out: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _taught(self) -> Self:
        scheduler = self.model.scheduler
        if scheduler.kind == "consistency" and self.steps > scheduler.pcm_timesteps:
            raise ValueError(f"steps={self.steps}, and the model was taught {scheduler.pcm_timesteps} times")
        return self

    @property
    def guidance(self) -> float | None:
        """What a distilled model is given; None for one that is not."""
        return self.guidance_scale if self.model.transformer.guidance_embed else None

    @property
    def schedule(self) -> Schedule:
        """The sampler's steps."""
        return schedule(self.model.scheduler, self.steps, self.guidance_scale, self.guidance is not None)

    @property
    def sampler(self) -> SamplerKnobs:
        """The flow's sampler, as knobs."""
        unguided = {} if self.guidance is not None else {"guidance_scale": 1.0}
        return SamplerKnobs("", self.steps, self.schedule.calls, self.schedule, unguided=unguided)

    @property
    def times(self) -> tuple[float, ...]:
        """What the flow gets as `t` at each step: 0 for noise."""
        return tuple(network_time(1000 * t) for t in self.schedule.times[:-1])


def network_time(t: float) -> float:
    """What the flow gets as `t` at a schedule's time (times 1000)."""
    return 1 - t / 1000


def read_settings(folder: Path, knobs: Knobs, random_weights: bool) -> Settings:
    """Settings of a checkpoint folder with the recipe's knobs on top.

    Raises:
        UsageError: when the configuration is missing, or is not one of this family, or the knobs do not fit it.
    """
    model = read_model(folder)
    steps = 5 if model.scheduler.kind == "consistency" else 50
    try:
        return Settings(**{"model": model, "steps": steps, **knobs.model_dump(exclude_none=True)})
    except ValidationError as error:
        raise UsageError(f"knobs: {told(error)}; change them, or leave them to {folder}") from error
