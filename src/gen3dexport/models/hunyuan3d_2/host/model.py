"""A Hunyuan3D-2 model's configuration, in the layout of its released `config.yaml`. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from gen3dexport.documents.document import read_yaml
from gen3dexport.documents.plain import shown
from gen3dexport.documents.record import Record
from gen3dexport.errors import UsageError
from gen3dexport.models.configuration import check_equal, checked, fields_of

CONFIG = "config.yaml"
"""The file that every checkpoint folder has."""

_WHAT = "a Hunyuan3D-2 configuration"

Kind = Literal["flow", "consistency"]
"""Evenly spread times, or those that a distilled model was taught."""

SCHEDULERS: Mapping[str, Kind] = {
    "FlowMatchEulerDiscreteScheduler": "flow",
    "ConsistencyFlowMatchEulerDiscreteScheduler": "consistency",
}
"""Times by the name of the release's class, the last word of `scheduler.target`."""

Size = Annotated[int, Field(ge=1, le=2**16)]
"""A width, or an edge."""
Count = Annotated[int, Field(ge=1, le=1024)]
"""How many of what there are few."""


class Transformer(Record):
    """The flow.

    Attributes:
        context_in_dim: width of the picture's tokens.
        depth, depth_single_blocks: blocks of two streams, and of one.
        time_factor: base of the periods of the time's features.
        guidance_embed: whether guidance is an input, as in the distilled models.
    """

    in_channels: Size = 64
    context_in_dim: Size = 1536
    hidden_size: Size = 1024
    mlp_ratio: float = Field(default=4.0, gt=0, le=64)
    num_heads: Count = 16
    depth: Count = 8
    depth_single_blocks: Count = 16
    qkv_bias: bool = True
    time_factor: float = Field(default=1000.0, gt=1, le=1e6)
    guidance_embed: bool = False

    @model_validator(mode="after")
    def _divides(self) -> Self:
        _whole("hidden_size", self.hidden_size, self.num_heads)
        return self


class Vae(Record):
    """The decoder of shapes.

    Attributes:
        num_latents: vectors of a latent set; embed_dim: channels of each.
        scale_factor: what latents are divided by as they leave the sampler.
        geo_decoder_downsample_ratio: width of the decoder over that of what points go through, and heads over heads.
        geo_decoder_ln_post: whether that ends in a norm; it has norms of queries and keys only then.
    """

    num_latents: Size = 512
    embed_dim: Size = 64
    width: Size = 1024
    heads: Count = 16
    num_decoder_layers: Count = 16
    num_freqs: int = Field(default=8, ge=1, le=32)
    include_pi: bool = False
    qkv_bias: bool = False
    qk_norm: bool = True
    scale_factor: float = Field(default=1.0, gt=0)
    geo_decoder_mlp_expand_ratio: Count = 4
    geo_decoder_downsample_ratio: Count = 1
    geo_decoder_ln_post: bool = True

    @model_validator(mode="after")
    def _divides(self) -> Self:
        _whole("width", self.width, self.heads)
        _whole("heads", self.heads, self.geo_decoder_downsample_ratio)
        return self

    @property
    def point_width(self) -> int:
        """Width of what points go through."""
        return self.width // self.geo_decoder_downsample_ratio


class ImageEncoder(Record):
    """DINOv2 without registers, in the names of the transformers library.

    Attributes:
        image_size: edge of the pictures that the stored position table is for, and of those that it takes.
        use_swiglu_ffn: whether its MLPs are gated, as in the giant one.
    """

    hidden_size: Size = 1536
    num_hidden_layers: Count = 40
    num_attention_heads: Count = 24
    image_size: Size = 518
    patch_size: Size = 14
    use_swiglu_ffn: bool = True

    @model_validator(mode="after")
    def _divides(self) -> Self:
        _whole("hidden_size", self.hidden_size, self.num_attention_heads)
        _whole("image_size", self.image_size, self.patch_size)
        return self


class Scheduler(Record):
    """The sampler's times, from 0 (noise) to 1.

    Attributes:
        kind: evenly spread ones, or those that a distilled model was taught.
        shift: h in s = h s / (1 + (h - 1) s) of even ones; pcm_timesteps: how many a distilled model was taught.
    """

    kind: Kind = "flow"
    shift: float = Field(default=1.0, gt=0, le=1000)
    pcm_timesteps: int = Field(default=50, ge=1, le=1000)


class Model(Record):
    """A model's networks."""

    transformer: Transformer
    vae: Vae
    image_encoder: ImageEncoder
    scheduler: Scheduler

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        pairs = {
            "model: in_channels, vae: embed_dim": (self.transformer.in_channels, self.vae.embed_dim),
            "model: context_in_dim, conditioner: hidden_size": (
                self.transformer.context_in_dim,
                self.image_encoder.hidden_size,
            ),
        }
        check_equal(pairs)
        if (self.scheduler.kind == "consistency") != self.transformer.guidance_embed:
            raise ValueError("guidance_embed and a consistency scheduler go together: the model is distilled, or not")
        return self

    @property
    def image_tokens(self) -> int:
        """Tokens of a picture: the class token, then its patches row by row."""
        return 1 + (self.image_encoder.image_size // self.image_encoder.patch_size) ** 2


def _whole(name: str, number: int, divisor: int) -> None:
    if number % divisor:
        raise ValueError(f"{name}={number} is no multiple of {divisor}")


def read_model(folder: Path) -> Model:
    """The model of `folder`/config.yaml: `params` of its parts `model`, `vae` and `conditioner`, and the scheduler.

    Raises:
        UsageError: when the file is missing, is not such a configuration, or asks for what is not implemented.
    """
    path = folder / CONFIG
    data = read_yaml(path)
    parts = {name: _params(data, name, path) for name in ("model", "vae", "conditioner", "scheduler")}
    target = str(data["scheduler"].get("target", "")).rpartition(".")[2]
    if target not in SCHEDULERS:
        raise UsageError(f"{path}: scheduler.target: names {shown(target)}, and there are {', '.join(SCHEDULERS)}")
    known = {
        "transformer": fields_of(Transformer, parts["model"]),
        "vae": fields_of(Vae, parts["vae"]),
        "image_encoder": fields_of(ImageEncoder, _encoder(parts["conditioner"])),
        "scheduler": {**fields_of(Scheduler, parts["scheduler"]), "kind": SCHEDULERS[target]},
    }
    return checked(Model, known, _WHAT, str(path), "copy it again")


def _params(data: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    part = data.get(name)
    params = part.get("params", {}) if isinstance(part, Mapping) else None
    if not isinstance(params, Mapping):
        raise UsageError(f"{path}: {name}: missing, or has no `params`; not {_WHAT}, copy it again")
    return params


def _encoder(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration of the one image encoder, wherever the conditioner's parameters have it."""
    found: Any = params
    for key in ("main_image_encoder", "kwargs", "config"):
        found = found.get(key, found) if isinstance(found, Mapping) else {}
    return found if isinstance(found, Mapping) else {}
