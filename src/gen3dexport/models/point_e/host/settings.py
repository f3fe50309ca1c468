"""What the host needs to run Point-E's pipeline, and what a recipe may set of it. No torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationError, model_validator

from gen3dexport.documents.record import Record, told
from gen3dexport.errors import UsageError
from gen3dexport.models.clip_files import FOLDER, MODEL, ClipText, ClipVision, read_half
from gen3dexport.models.point_e.host.diffusion import Stage, guided
from gen3dexport.models.point_e.host.model import CONFIG, Model, read_model
from gen3dexport.models.point_e.host.schedule import walk
from gen3dexport.models.weights import WeightFiles

OUTPUT = "eps_var"
"""What a diffusion network gives: noise and its variance."""

Branches = Literal["batched", "sequential"]
Steps = Annotated[int, Field(ge=1, le=1000)]
Scale = Annotated[float, Field(ge=0, le=100)]
Churn = Annotated[float, Field(ge=0, le=1000)]
Sigma = Annotated[float, Field(gt=1e-3, le=1e6)]
Chunk = Annotated[int, Field(ge=8, le=1 << 22)]
Resolution = Annotated[int, Field(ge=2, le=1024)]
Coarse = Annotated[int, Field(ge=1, le=64)]


class SamplingKnobs(Record):
    """What a recipe may set of a walk; see `Sampling`."""

    steps: Steps | None = None
    guidance_scale: Scale | None = None
    churn: Churn | None = None
    sigma_max: Sigma | None = None


class Knobs(Record):
    """What a recipe may set; what it does not set is as released.

    Attributes:
        base, upsampler: the walks to a coarse cloud and to the points between.
        guidance: whether one call takes both branches of guidance (`batched`), or each has a call.
        mesh: whether a mesh is made of the cloud, too.
        chunk: points that one call of the query program takes.
        resolution: grid points along an edge of the cube that the surface is found on.
        coarse: grid steps between the points that are queried first; 1 queries the whole grid.
        encoder: folder of CLIP, in the transformers library's layout; `none` for a pipeline that is given features.
    """

    WEIGHTS: ClassVar[WeightFiles] = WeightFiles(
        CONFIG, (CONFIG, "*.safetensors", f"{FOLDER}/*.json", f"{FOLDER}/*.safetensors")
    )

    base: SamplingKnobs = SamplingKnobs()
    upsampler: SamplingKnobs = SamplingKnobs()
    guidance: Branches | None = None
    mesh: bool | None = None
    chunk: Chunk | None = None
    resolution: Resolution | None = None
    coarse: Coarse | None = None
    encoder: str | None = None


class Sampling(Record):
    """A walk.

    Attributes:
        steps: of it; each but the last calls the network twice.
        guidance_scale: s in clean = u + s (c - u); 0 and 1 for none.
        churn: each step's sigma is made larger by the share churn / steps.
        sigma_max: of the noise that it begins with.
    """

    steps: Steps = 64
    guidance_scale: Scale
    churn: Churn
    sigma_max: Sigma


class Settings(Record):
    """Everything the host needs to run this pipeline; stored in the manifest. See `Knobs` for the other fields.

    Attributes:
        model: the networks' configurations.
        batches: of the two diffusion networks: 2 where one call takes both branches.
        clip_text, clip_vision: the half of CLIP that is a component; neither where features are given, or nothing is.
        clip_folder: where it lies, by itself or in the checkpoint's folder.
        tokenizer: whether the bundle has its tokenizer; False where only the size of the programs counts.
    """

    RUN_FIELDS: ClassVar[Mapping[str, str]] = {
        **{f"{part}.{name}": f"{part}.{name}" for part in ("base", "upsampler") for name in Sampling.model_fields},
        "resolution": "resolution",
        "coarse": "coarse",
    }

    model: Model
    base: Sampling
    upsampler: Sampling
    batches: tuple[Literal[1, 2], Literal[1, 2]]
    mesh: bool = False
    chunk: Chunk = 4096
    resolution: Resolution = 128
    coarse: Coarse = 4
    clip_text: ClipText | None = None
    clip_vision: ClipVision | None = None
    clip_folder: str = FOLDER
    tokenizer: bool = False
    left_out: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _clip_fits(self) -> Self:
        half, base = self.clip_text or self.clip_vision, self.model.base
        if half is not None and base.kind == "vector" and half.projection_dim != base.clip_width:
            raise ValueError(
                f"CLIP's projection_dim and base: clip_feature_dim must be equal, and are {half.projection_dim} and "
                f"{base.clip_width}"
            )
        grid = self.model.upsampler.condition
        if self.clip_vision is not None and self.clip_vision.grid != grid:
            raise ValueError(
                "CLIP's hidden_size and patches and the upsampler's grid must be equal, and are "
                f"{self.clip_vision.grid} and {grid}"
            )
        return self

    @property
    def asset_kinds(self) -> tuple[str, ...]:
        """Points, and where asked a mesh."""
        return ("points", "mesh") if self.mesh else ("points",)

    def stages(self) -> tuple[Stage, Stage]:
        """Both walks, the coarse cloud's first."""
        made = []
        for config, sampling, batch in zip(
            (self.model.base, self.model.upsampler), (self.base, self.upsampler), self.batches, strict=True
        ):
            steps = walk(sampling.steps, sampling.sigma_max, sampling.churn)
            betas: Any = "linear" if config.kind == "upsampler" else "cosine"
            made.append(Stage(config, betas, steps, sampling.guidance_scale, batch == 2))
        return made[0], made[1]


def encoded(settings: Settings) -> tuple[str, ...]:
    """What CLIP's half makes: a vector of a prompt; a grid of a picture, and for some networks its vector."""
    if settings.clip_text is not None:
        return ("vector",)
    return ("grid", "vector") if settings.model.base.kind == "vector" else ("grid",)


def given_to(name: str, settings: Settings) -> tuple[str, ...]:
    """What a diffusion network takes beside x and t."""
    if name == "upsampler":
        return ("cond", "low_res")
    return () if settings.model.base.kind == "none" else ("cond",)


def read_settings(folder: Path, knobs: Knobs, random_weights: bool) -> Settings:
    """Settings of a checkpoint folder with the recipe's knobs on top.

    Raises:
        UsageError: when a configuration is missing or not one of this family, a mesh is asked of a checkpoint without
            its network, or CLIP is needed and not there.
    """
    model = read_model(folder)
    if knobs.mesh and model.sdf is None:
        raise UsageError(
            f"knobs.mesh: {folder / CONFIG} has no sdf, the network of a surface; add it, or leave mesh out"
        )
    # Without a picture the denser cloud has no condition but the coarse one, which guidance would take away, too.
    of_image = model.made_of == "image"
    base = {"guidance_scale": 0.0 if model.made_of == "nothing" else 3.0, "churn": 3.0, "sigma_max": 120.0}
    denser = {"guidance_scale": 3.0 if of_image else 0.0, "churn": 0.0, "sigma_max": 160.0}
    walks = [
        Sampling(**{**default, **asked.model_dump(exclude_none=True)})
        for default, asked in ((base, knobs.base), (denser, knobs.upsampler))
    ]
    both = knobs.guidance != "sequential"
    known = knobs.model_dump(exclude_none=True, include={"mesh", "chunk", "resolution", "coarse"})
    clip, found = _clip(folder, model, knobs.encoder, random_weights)
    fields = {
        "model": model,
        "base": walks[0],
        "upsampler": walks[1],
        "batches": tuple(2 if both and guided(w.guidance_scale) else 1 for w in walks),
        **known,
        **clip,
        "left_out": () if found else ("text_encoder" if model.made_of == "text" else "image_encoder",),
    }
    try:
        return Settings.model_validate(fields)
    except ValidationError as error:
        raise UsageError(f"{folder}: its networks and CLIP do not fit each other: {told(error)}") from error


def _clip(folder: Path, model: Model, chosen: str | None, random_weights: bool) -> tuple[dict[str, Any], bool]:
    """Fields of CLIP's half, and whether there is all that the pipeline needs of it.

    Raises:
        UsageError: when the chosen folder is not there or of another model, or the pipeline cannot be given features.
    """
    if model.made_of == "nothing":
        if chosen is not None:
            raise UsageError(f"knobs.encoder: {folder / CONFIG} makes clouds of nothing, so it has no encoder")
        return {}, True
    place = folder / FOLDER if chosen in (None, "none") else Path(str(chosen)).expanduser().absolute()
    half: type[ClipText] | type[ClipVision] = ClipText if model.made_of == "text" else ClipVision
    field = "clip_text" if half is ClipText else "clip_vision"
    tokenizer = (place / "tokenizer.json").is_file()
    if chosen != "none" and os.path.lexists(place / "config.json"):  # also a link to nothing, which reading tells
        if half is ClipText and not tokenizer and not random_weights:
            raise UsageError(f"{place / 'tokenizer.json'}: not found; copy it from {MODEL}")
        own = {"clip_folder": FOLDER if chosen is None else str(place), "tokenizer": tokenizer and half is ClipText}
        return {field: read_half(place, half), **own}, True
    if chosen not in (None, "none"):
        raise UsageError(f"knobs.encoder: {place}: no config.json; copy config.json and model.safetensors of {MODEL}")
    if random_weights and chosen is None:
        return {field: half()}, True
    if model.base.kind == "vector" and model.made_of == "image":
        raise UsageError(
            f"{place}: CLIP is not there, and this model needs both its vector and its grid of a picture: copy "
            f"config.json and model.safetensors of {MODEL} there, or name their folder with knobs.encoder"
        )
    return {}, False
