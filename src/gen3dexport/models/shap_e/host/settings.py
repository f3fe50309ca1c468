"""What the host needs to run Shap-E's pipeline, and what a recipe may set of it. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationError, model_validator

from gen3dexport.documents.record import Record, told
from gen3dexport.errors import UsageError
from gen3dexport.models.clip_files import MODEL, ClipText, ClipVision, read_half
from gen3dexport.models.shap_e.host.diffusion import Sampler
from gen3dexport.models.shap_e.host.model import INDEX, Model, read_model
from gen3dexport.models.weights import WeightFiles

TEXT, IMAGE = "text_encoder", "image_encoder"
"""Components, and the folders that they lie in."""

LAYERS = ("first", "rest")
"""Weights of the function's first layer, and of those after it that latents make."""
OUTPUTS: Mapping[str, tuple[str, ...]] = {
    TEXT: ("vector",),
    IMAGE: ("grid",),
    "prior": ("latents",),
    "layers": LAYERS,
    "distance": ("sdf",),
    "color": ("color",),
}
"""Of each component."""

Steps = Annotated[int, Field(ge=2, le=1000)]
Scale = Annotated[float, Field(ge=0, le=100)]
Chunk = Annotated[int, Field(ge=8, le=1 << 22)]
Resolution = Annotated[int, Field(ge=2, le=1024)]
Coarse = Annotated[int, Field(ge=1, le=64)]


class Knobs(Record):
    """What a recipe may set; what it does not set is as released.

    Attributes:
        steps: of the walk; guidance_scale: s in clean = u + s (c - u), 1 and less for none.
        guidance: whether one call takes both branches of guidance (`batched`), or each has a call.
        chunk: points that one call of the two query programs takes.
        resolution: grid points along an edge of the cube that the surface is found on.
        coarse: grid steps between the points that are queried first; 1 queries the whole grid.
        encoder: `none` for a pipeline that is given features in the place of CLIP's.
    """

    WEIGHTS: ClassVar[WeightFiles] = WeightFiles(INDEX, (INDEX, "*/*.json", "*/*.safetensors"))

    steps: Steps | None = None
    guidance_scale: Scale | None = None
    guidance: Literal["batched", "sequential"] | None = None
    chunk: Chunk | None = None
    resolution: Resolution | None = None
    coarse: Coarse | None = None
    encoder: Literal["none"] | None = None


class Settings(Record):
    """Everything the host needs to run this pipeline; stored in the manifest. See `Knobs` for the other fields.

    Attributes:
        model: the networks' configurations.
        batch: of the prior: 2 where one call takes both branches.
        clip_text, clip_vision: the half of CLIP that is a component; neither where features are given.
        tokenizer: its file in the checkpoint's folder; "" where only the size of the programs counts.
    """

    RUN_FIELDS: ClassVar[Mapping[str, str]] = {
        name: name for name in ("steps", "guidance_scale", "resolution", "coarse")
    }

    model: Model
    steps: Steps = 64
    guidance_scale: Scale
    batch: Literal[1, 2]
    chunk: Chunk = 16384
    resolution: Resolution = 128
    coarse: Coarse = 4
    clip_text: ClipText | None = None
    clip_vision: ClipVision | None = None
    tokenizer: str = ""
    asset_kinds: tuple[str, ...] = ("mesh",)
    left_out: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _clip_fits(self) -> Self:
        wanted = self.model.prior.embedding_proj_dim
        text, vision = self.clip_text, self.clip_vision
        found = text.projection_dim if text else vision.hidden_size if vision else wanted
        if found != wanted:
            raise ValueError(f"CLIP's answer and prior: embedding_proj_dim must be equal, and are {found} and {wanted}")
        return self

    @property
    def condition(self) -> tuple[int, ...]:
        """Shape of what the prior takes of CLIP, without the batch."""
        width = self.model.prior.embedding_proj_dim
        if self.model.made_of == "text":
            return (width,)
        return ((self.clip_vision or ClipVision()).grid[1], width)

    @property
    def sampler(self) -> Sampler:
        """The walk."""
        return Sampler(self.model.scheduler, self.steps, self.guidance_scale, self.batch == 2)


def read_settings(folder: Path, knobs: Knobs, random_weights: bool) -> Settings:
    """Settings of a checkpoint folder with the recipe's knobs on top.

    Raises:
        UsageError: when a configuration is missing or not one of this family.
    """
    model = read_model(folder)
    scale = {"text": 15.0, "image": 3.0}[model.made_of] if knobs.guidance_scale is None else knobs.guidance_scale
    clip = {} if knobs.encoder == "none" else _clip(folder, model, random_weights)
    fields = {
        "model": model,
        **knobs.model_dump(exclude_none=True, include={"steps", "chunk", "resolution", "coarse"}),
        "guidance_scale": scale,
        "batch": 2 if scale > 1 and knobs.guidance != "sequential" else 1,
        **clip,
        "left_out": () if clip else (TEXT if model.made_of == "text" else IMAGE,),
    }
    try:
        return Settings.model_validate(fields)
    except ValidationError as error:
        raise UsageError(f"{folder}: its networks and CLIP do not fit each other: {told(error)}") from error


def _clip(folder: Path, model: Model, random_weights: bool) -> dict[str, Any]:
    """Fields of CLIP's half; none where it is not there.

    Raises:
        UsageError: when its configuration is damaged, or a text encoder has no tokenizer.
    """
    text = model.made_of == "text"
    place, half = folder / (TEXT if text else IMAGE), ClipText if text else ClipVision
    field = "clip_text" if text else "clip_vision"
    if not (place / "config.json").is_file():
        return {field: half()} if random_weights else {}
    tokenizer = ""
    if text:
        names = ("tokenizer/tokenizer.json", f"{TEXT}/tokenizer.json")
        tokenizer = next((name for name in names if (folder / name).is_file()), "")
        if not tokenizer and not random_weights:
            raise UsageError(f"{folder / names[0]}: not found; copy it from {MODEL}, whose tokenizer this model has")
    return {field: read_half(place, half), "tokenizer": tokenizer}
