"""What the host needs to run V-JEPA 2, and what a recipe may set of it. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, ValidationError, model_validator

from gen3dexport.documents.record import Record, told
from gen3dexport.errors import UsageError
from gen3dexport.models.v_jepa2.host.model import CONFIG, Model, read_model
from gen3dexport.models.weights import WeightFiles

ENCODER, CONTEXT, PREDICTOR = "encoder", "context_encoder", "predictor"
"""Names of the networks: of the whole film, of its known part alone, and of what comes after that."""
FILM, FEATURES, PREDICTED = "film", "features", "predicted"
"""Names of what they take and give."""
CHECKPOINT = "model"
RATE = 30.0
"""Frames a second of a film that does not say it."""
FRAMES = 16
"""Of a clip, where a recipe says nothing: a quarter of what the released models were trained with, for attention over
64 frames takes sixteen times as much."""

Count = Annotated[int, Field(ge=1, le=1024)]
Rate = Annotated[float, Field(gt=0, le=1000)]
Stride = Annotated[int, Field(ge=0, le=10000)]


class Knobs(Record):
    """What a recipe may set; what it does not set is as released, but for `frames`.

    Attributes:
        frames: of a clip, a multiple of a patch's frames.
        size: edge of a frame for the network in pixels, a multiple of the patch.
        predictor: whether later features are predicted from those of the first frames.
        known: moments (patches of so many frames) that the prediction starts from; half of a clip's if nothing is said.
        blind: whether what is known is encoded alone, by a program of its own, so that it knows nothing of what comes.
        stride: a clip has every so many frames of a film from its first on; 0 spreads it over the whole film.
        rate: frames a second of a film that does not say it.
    """

    WEIGHTS: ClassVar[WeightFiles] = WeightFiles(CONFIG, (CONFIG, f"{CHECKPOINT}.safetensors"))

    frames: Count | None = None
    size: Annotated[int, Field(ge=1, le=4096)] | None = None
    predictor: bool = True
    known: Count | None = None
    blind: bool = False
    stride: Stride | None = None
    rate: Rate | None = None


class Settings(Record):
    """Everything the host needs to run this pipeline; stored in the manifest. See `Knobs` for the other fields.

    Attributes:
        model: the networks' configuration, `crop_size` as the recipe's `size`.
    """

    RUN_FIELDS: ClassVar[Mapping[str, str]] = {name: name for name in ("stride", "rate")}

    model: Model
    frames: Count = FRAMES
    predictor: bool = True
    known: Annotated[int, Field(ge=0, le=1024)] = 0
    blind: bool = False
    stride: Stride = 0
    rate: Rate = RATE
    left_out: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.frames % self.model.tubelet_size:
            raise ValueError(
                f"frames {self.frames} is no multiple of the {self.model.tubelet_size} frames of a patch (tubelet_size)"
            )
        if self.predictor and not 0 < self.known < self.moments:
            raise ValueError(
                f"known {self.known} of {self.moments} moments leaves nothing to predict, or to predict it from; a "
                f"clip of {self.frames} frames has {self.moments} moments: set known from 1 to {self.moments - 1}, "
                "more frames, or predictor=false"
            )
        if self.blind and not self.predictor:
            raise ValueError("blind is of the predictor's input, and predictor is false; leave one of them out")
        return self

    @property
    def moments(self) -> int:
        """Of a clip in time: patches of `tubelet_size` frames."""
        return self.frames // self.model.tubelet_size

    def moments_of(self, name: str) -> int:
        """Steps that an encoder takes."""
        return self.known if name == CONTEXT else self.moments

    @property
    def asset_kinds(self) -> tuple[str, ...]:
        """Features over time."""
        return ("feature_film",)

    @property
    def takes_film(self) -> bool:
        """One asset is made of a film."""
        return True


def read_settings(folder: Path, knobs: Knobs, random_weights: bool) -> Settings:
    """Settings of a checkpoint folder with the recipe's knobs on top.

    Raises:
        UsageError: when the configuration is missing or not one of this family, or a knob does not fit it.
    """
    model = read_model(folder)
    given = knobs.model_dump(exclude_none=True)
    size, frames = given.pop("size", model.crop_size), given.pop("frames", FRAMES)
    if size % model.patch_size:
        nearest = max(1, round(size / model.patch_size)) * model.patch_size
        raise UsageError(
            f"knobs.size: {size} is no multiple of the {model.patch_size} pixels of a patch; take e.g. {nearest}"
        )
    known = given.pop("known", frames // model.tubelet_size // 2) if knobs.predictor else 0
    if knobs.known and not knobs.predictor:
        raise UsageError("knobs.known: is where a prediction starts, and predictor is false; leave it out")
    try:
        model = model.model_copy(update={"crop_size": size})
        return Settings(model=model, frames=frames, **given | {"known": known})
    except ValidationError as error:
        raise UsageError(f"knobs: {told(error).replace('Value error, ', '')}") from error
