"""Point-E's networks by their configurations, in the names of the release's code. No torch.

Released files have no configuration: a checkpoint folder has a `config.json` that names the file of each network.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from gen3dexport.documents.record import Record
from gen3dexport.documents.shipped import did_you_mean
from gen3dexport.models.configuration import check_equal, checked, fields_of, read_configuration

CONFIG = "config.json"
"""The file that every checkpoint folder has."""
CHANNELS = 6
"""Of a point: x, y, z, red, green, blue."""
Kind = Literal["none", "vector", "grid", "upsampler"]
"""What a diffusion network is told of the object: nothing, a vector of CLIP, a grid of CLIP's tokens, or that and a
coarser cloud."""
CLASSES: Mapping[str, Kind] = {
    "PointDiffusionTransformer": "none",
    "CLIPImagePointDiffusionTransformer": "vector",
    "CLIPImageGridPointDiffusionTransformer": "grid",
    "CLIPImageGridUpsamplePointDiffusionTransformer": "upsampler",
}
"""The release's class of a diffusion network -> its kind."""
SDF_CLASS = "CrossAttentionPointCloudSDFModel"

_WHAT = "a Point-E configuration"
_UNUSED = ("init_scale", "cond_drop_prob")  # of training alone

Width = Annotated[int, Field(ge=2, le=2**13, multiple_of=2)]
Count = Annotated[int, Field(ge=1, le=2**10)]
Points = Annotated[int, Field(ge=1, le=2**16)]
Six = Annotated[tuple[float, ...], Field(min_length=CHANNELS, max_length=CHANNELS)]
FileName = Annotated[str, Field(pattern=r"^\w[\w.-]*$", max_length=100)]

_SCALES, _BIASES = (2.0, 2.0, 2.0, *[0.007843137255] * 3), (0.0, 0.0, 0.0, -1.0, -1.0, -1.0)


class Denoising(Record):
    """A diffusion network.

    Attributes:
        name: its class in the release; see `CLASSES`.
        n_ctx: points that it makes; cond_ctx: of the coarser cloud that it is given.
        channel_scales, channel_biases: a cloud in the release's units times the one plus the other is what it makes.
        clip_feature_dim: of CLIP's vector; clip_grid_feature_dim, clip_grid_size: of its grid, and that one's edge.
        file: the file of its weights, without ending.
    """

    name: str
    width: Width
    layers: Count
    heads: Count
    n_ctx: Points
    input_channels: Literal[6] = 6
    output_channels: Literal[12] = 12
    time_token_cond: Literal[True]
    token_cond: Literal[True] = True
    cond_ctx: Points = 1024
    channel_scales: Six = _SCALES
    channel_biases: Six = _BIASES
    clip_feature_dim: Width = 768
    clip_grid_feature_dim: Width = 1024
    clip_grid_size: Annotated[int, Field(ge=1, le=128)] = 16
    file: FileName = "weights"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.name not in CLASSES:
            raise ValueError(
                f"name: {self.name!r} is no diffusion network of Point-E{did_you_mean(self.name, CLASSES)}"
            )
        _whole("width", self.width, self.heads)
        if 0 in self.channel_scales:
            raise ValueError("channel_scales: 0 cannot be undone")
        return self

    @property
    def kind(self) -> Kind:
        """See `Kind`."""
        return CLASSES[self.name]

    @property
    def clip_width(self) -> int:
        """Channels of what it takes of CLIP."""
        return self.clip_feature_dim if self.kind == "vector" else self.clip_grid_feature_dim

    @property
    def condition(self) -> tuple[int, ...]:
        """Shape of what it takes of CLIP, without the batch; none for a network that takes nothing."""
        if self.kind == "none":
            return ()
        return (self.clip_width,) if self.kind == "vector" else (self.clip_width, self.clip_grid_size**2)

    @property
    def extra_tokens(self) -> int:
        """Tokens before those of the points: the timestep's, CLIP's and the coarser cloud's."""
        grid = self.clip_grid_size**2
        return 1 + {"none": 0, "vector": 1, "grid": grid, "upsampler": grid + self.cond_ctx}[self.kind]


class Sdf(Record):
    """The network of a cloud's distance field.

    Attributes:
        n_ctx: points of the cloud; file: the file of its weights, without ending.
    """

    name: Literal["CrossAttentionPointCloudSDFModel"]
    n_ctx: Points
    width: Width
    encoder_layers: Count
    encoder_heads: Count
    decoder_layers: Count
    decoder_heads: Count
    file: FileName = "weights"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _whole("width", self.width, self.encoder_heads)
        _whole("width", self.width, self.decoder_heads)
        return self


class Model(Record):
    """The networks of a pipeline: one that makes a coarse cloud, one that makes it denser, and one of a surface.

    Attributes:
        made_of: what an asset is made of; the tensors of a network that takes a vector do not say whose.
    """

    made_of: Literal["text", "image", "nothing"]
    base: Denoising
    upsampler: Denoising
    sdf: Sdf | None = None

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.base.kind == "upsampler" or self.upsampler.kind != "upsampler":
            raise ValueError(
                "base makes a cloud of nothing and upsampler a denser one of it: their classes are "
                f"{self.base.name} and {self.upsampler.name}"
            )
        takes = {"none": ("nothing",), "vector": ("text", "image"), "grid": ("image",)}[self.base.kind]
        if self.made_of not in takes:
            raise ValueError(
                f"made_of is {self.made_of!r}, and a {self.base.name} makes clouds of {' or '.join(takes)}"
            )
        pairs = {
            "base: n_ctx, upsampler: cond_ctx": (self.base.n_ctx, self.upsampler.cond_ctx),
            "channel_scales of base and upsampler": (self.base.channel_scales, self.upsampler.channel_scales),
            "channel_biases of base and upsampler": (self.base.channel_biases, self.upsampler.channel_biases),
        }
        if self.base.kind == "grid":
            pairs["grids of base and upsampler"] = (self.base.condition, self.upsampler.condition)
        if self.sdf is not None:
            pairs["points of base and upsampler together, sdf: n_ctx"] = (self.points, self.sdf.n_ctx)
        check_equal(pairs)
        return self

    @property
    def points(self) -> int:
        """Of a finished cloud: the coarse ones, then the others."""
        return self.base.n_ctx + self.upsampler.n_ctx


def _whole(name: str, number: int, divisor: int) -> None:
    if number % divisor:
        raise ValueError(f"{name}={number} is no multiple of {divisor} heads")


def parse_network(data: Mapping[str, Any], where: str, whole: bool = True) -> Denoising | Sdf:
    """A network's configuration.

    Args:
        whole: whether a field that is not known here is an error.

    Raises:
        UsageError: for what is not such a configuration.
    """
    kind: type[Denoising] | type[Sdf] = Sdf if data.get("name") == SDF_CLASS else Denoising
    known = {key: value for key, value in data.items() if key not in _UNUSED}
    return checked(kind, known if whole else fields_of(kind, known), _WHAT, where)


def read_model(folder: Path) -> Model:
    """The model of `folder`/config.json.

    Raises:
        UsageError: when the file is missing, or is not such a configuration.
    """
    path = folder / CONFIG
    remedy = (
        "the release has none: copy the one of weights/Point-E-base40M (or -base300M, -base1B, -base40M-textvec, ...) "
        "of this package beside the checkpoints"
    )
    data = read_configuration(path, _WHAT, remedy)
    for part in ("base", "upsampler", "sdf"):
        if isinstance(config := data.get(part), dict):
            data[part] = {key: value for key, value in config.items() if key not in _UNUSED}
    return checked(Model, data, _WHAT, str(path))
