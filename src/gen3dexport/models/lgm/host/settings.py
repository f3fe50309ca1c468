"""What the host needs to run LGM and L4GM, and what a recipe may set of it. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from gen3dexport.documents.record import Record
from gen3dexport.errors import UsageError
from gen3dexport.models.lgm.host.gaussians import LEAST
from gen3dexport.models.lgm.host.model import CONFIG, Model, read_model
from gen3dexport.models.weights import WeightFiles, files_of

UNET, BETWEEN = "unet", "interpolation"
"""Names of the networks: the one that makes Gaussians, and L4GM's of frames between frames."""
INPUT, OUTPUT = "images", "gaussians"
"""Names of a network's input and output."""
KNOWN = 4
"""Frames that the network of frames between takes: two that are known, and two between them."""
RATE = 15.0
"""Frames a second, as L4GM was trained."""

_STILL = ("model_fixrot", "model_fp16_fixrot")  # files of LGM, the more exact one first
_OVER_TIME, _BETWEEN = "recon", "interp"
_OLD = ("model", "model_fp16")  # trained with another rotation; nothing in the tensors says so

Order = Literal["orbit", "imagedream"]
"""How the views of an object are given: from the front counter-clockwise seen from above, or as ImageDream makes them,
whose last one is the front."""
Frames = Annotated[int, Field(ge=1, le=64)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, le=1000)]


class Knobs(Record):
    """What a recipe may set; what it does not set is as released.

    Attributes:
        frames: of a film in one call of L4GM's network; the released one was trained for 16.
        interpolate: whether L4GM also makes two frames between any two of the film, with its second network.
        order: see `Order`.
        rate: frames a second of a film that does not say it.
        least_opacity: Gaussians less opaque than this are left out.
    """

    WEIGHTS: ClassVar[WeightFiles] = WeightFiles(
        CONFIG, (CONFIG, *(f"{name}.safetensors" for name in (*_STILL, _OVER_TIME, _BETWEEN)))
    )

    frames: Frames | None = None
    interpolate: bool = False
    order: Order | None = None
    rate: Rate | None = None
    least_opacity: Share | None = None


class Settings(Record):
    """Everything the host needs to run this pipeline; stored in the manifest. See `Knobs` for the other fields.

    Attributes:
        model: the network's configuration.
        checkpoint: the file of the first network, without its ending.
    """

    RUN_FIELDS: ClassVar[Mapping[str, str]] = {name: name for name in ("order", "rate", "least_opacity")}

    model: Model
    checkpoint: str
    interpolate: bool = False
    order: Order = "orbit"
    rate: Rate = RATE
    least_opacity: Share = LEAST
    left_out: tuple[str, ...] = ()

    @property
    def asset_kinds(self) -> tuple[str, ...]:
        """Gaussians, or a sequence of them."""
        return ("sequence",) if self.takes_film else ("gaussians",)

    @property
    def takes_film(self) -> bool:
        """Whether one asset is made of a film."""
        return self.model.over_time

    @property
    def between(self) -> Model:
        """The configuration of the network of frames between."""
        return self.model.model_copy(update={"num_frames": KNOWN})


def read_settings(folder: Path, knobs: Knobs, random_weights: bool) -> Settings:
    """Settings of a checkpoint folder with the recipe's knobs on top.

    Raises:
        UsageError: when the configuration is missing or not one of this family, frames are set for a model that takes
            none, or the weights are of the old release or of the other variant.
    """
    model = read_model(folder)
    known = knobs.model_dump(exclude_none=True)
    frames = known.pop("frames", model.num_frames)
    of_films = [name for name in ("frames", "interpolate", "rate") if getattr(knobs, name)]
    if of_films and not model.over_time:
        raise UsageError(
            f"knobs.{of_films[0]}: the model of {folder / CONFIG} makes a still object (LGM); leave it out, or take "
            "L4GM-big"
        )
    if model.over_time:
        model = model.model_copy(update={"num_frames": frames})
    return Settings(model=model, checkpoint=_checkpoint(folder, model, random_weights), **known)


def _checkpoint(folder: Path, model: Model, random_weights: bool) -> str:
    """The stem of the file with the first network.

    Raises:
        UsageError: where the folder has only files that this network must not take.
    """
    if model.over_time:
        return _OVER_TIME
    here = [name for name in _STILL if files_of(folder / name)]
    old = [name for name in _OLD if files_of(folder / name)]
    if old and not here and not random_weights:
        raise UsageError(
            f"{folder}: has {old[0]} and no {_STILL[1]}; files without `fixrot` were trained with another "
            "normalisation of rotations and make wrong Gaussians; take model_fixrot.safetensors or "
            "model_fp16_fixrot.safetensors of the release (or rename a file that you know is right)"
        )
    return here[0] if here else _STILL[1]
