"""What a recipe may set for TRELLIS, under `knobs`. No torch."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from gen3dexport.documents.record import Record
from gen3dexport.models.weights import WeightFiles

Decoded = Literal["gaussian", "mesh", "radiance_field"]
ENCODER_FILES = ("*.json", "model*.safetensors", "merges.txt", "vocab.*")
"""Files of an encoder in the layout of the transformers library, as patterns."""


def ordered(interval: tuple[float, float]) -> tuple[float, float]:
    """A guidance interval, if it is one."""
    if not 0 <= interval[0] <= interval[1] <= 1:
        raise ValueError("needs 0 <= low <= high <= 1")
    return interval


def falling(times: tuple[float, ...]) -> tuple[float, ...]:
    """Times of a sampler's steps, if they are: from 1, falling, above 0."""
    if times[0] != 1 or any(not 0 < after < before for before, after in pairwise(times)):
        raise ValueError("needs times that begin with 1 and fall, all above 0")
    return times


def rising(numbers: tuple[int, ...]) -> tuple[int, ...]:
    """Numbers of steps, if each is greater than the one before."""
    if any(after <= before for before, after in pairwise(numbers)):
        raise ValueError("needs numbers of steps that rise, each once")
    return numbers


StepTimes = Annotated[tuple[float, ...], Field(min_length=1, max_length=1000), AfterValidator(falling)]
StepNumber = Annotated[int, Field(ge=1, le=999)]
"""Number of a step that takes something from one before it."""
StepNumbers = Annotated[tuple[StepNumber, ...], AfterValidator(rising)]


class Sampler(Record):
    """Sampler knobs; what is not set comes from the checkpoint's `pipeline.json`.

    Attributes:
        guidance: the two branches of a guided step as two calls of the flow (`sequential`, the default) or as one call
            of a batch of two (`batched`: faster where one branch does not fill the device).
        cache_context: the keys and values of the condition once for all steps, by a component of their own
            (`flow_context`, `slat_flow_context`). The flow is then lowered block by block, not one block for all.
        tabulate_time: the timestep's layers as a table of the sampler's steps (on unless false): the program then
            has those layers' outputs and not their weights.
        step_times: t of each step, falling from 1, in place of `steps` and `rescale_t`: few steps where they count.
        order: 1 for Euler steps, 2 for steps that take the velocity before into account (Adams-Bashforth).
        reuse_guidance: numbers of guided steps, from 0, that call the conditional branch alone and take the difference
            of the branches from the step before.
    """

    steps: int | None = Field(default=None, ge=1, le=1000)
    guidance_scale: float | None = Field(default=None, ge=0)
    guidance_interval: tuple[float, float] | None = None
    rescale_t: float | None = Field(default=None, gt=0)
    guidance: Literal["sequential", "batched"] | None = None
    cache_context: bool | None = None
    tabulate_time: bool | None = None
    step_times: StepTimes | None = None
    order: Literal[1, 2] | None = None
    reuse_guidance: StepNumbers | None = None

    @field_validator("guidance_interval")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        return None if value is None else ordered(value)

    @model_validator(mode="after")
    def _one_schedule(self) -> Self:
        given = [name for name in ("steps", "rescale_t") if getattr(self, name) is not None]
        if self.step_times is not None and given:
            raise ValueError(f"step_times takes the place of {' and '.join(given)}: set one or the other")
        return self


class Voxels(Record):
    """For how many voxels the programs of a structured latent are built.

    Attributes:
        budget: rows for voxels; a third as many are kept for occupied cells of half the resolution.
        on_overflow: what an asset with more voxels does: `error`, or `coarsen` to half the resolution with a warning.
        gather: how sparse convolutions gather their 27 neighbours: `all-at-once`, `per-plane` (9 at a time),
            `per-line` (3), `per-offset` (1; the least memory), or `auto`: for every convolution as many at a time as
            take 128 MiB.
    """

    budget: int | None = Field(default=None, ge=8, le=262144)
    on_overflow: Literal["error", "coarsen"] = "error"
    gather: Literal["auto", "all-at-once", "per-plane", "per-line", "per-offset"] = "auto"


class Knobs(Record):
    """A recipe's knobs for TRELLIS.

    Attributes:
        sampler: of the first stage; slat_sampler: of the structured latent's.
        voxels: budget of the structured latent.
        decoders: what the structured latent is decoded to; everything that the checkpoint can when not set.
        encoder: folder of the encoder of images or prompts that the checkpoint names, in the transformers library's
            layout, or its address on the hub; `encoders/NAME` in the weights folder when not set, and left out where
            that is not there; `none` leaves it out always. Without it, assets are made of given features.
    """

    WEIGHTS: ClassVar[WeightFiles] = WeightFiles(
        marker="pipeline.json",
        hub=("pipeline.json", "ckpts/*.json", "ckpts/*.safetensors", "encoders/*"),
        tensors="ckpts/*.safetensors",
    )

    sampler: Sampler = Sampler()
    slat_sampler: Sampler | None = None
    voxels: Voxels | None = None
    decoders: tuple[Decoded, ...] | None = Field(default=None, min_length=1)
    encoder: str | None = None
