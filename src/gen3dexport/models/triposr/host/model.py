"""A TripoSR model's configuration, in the names of its released `config.yaml`. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gen3dexport.documents.document import parse
from gen3dexport.documents.record import Record
from gen3dexport.errors import UsageError
from gen3dexport.models.configuration import check_equal
from gen3dexport.models.released_yaml import read_released_yaml

CONFIG = "config.yaml"
"""The file that every checkpoint folder has."""

_DINO = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "image_size": 224,
    "patch_size": 16,
}
_ENCODERS = {"facebook/dino-vitb16": _DINO}


Size = Annotated[int, Field(ge=1, le=2**16)]
"""A width, or an edge."""
Count = Annotated[int, Field(ge=1, le=1024)]
"""How many of what there are few."""


class Vit(Record):
    """The image encoder: a vision transformer of the transformers library's `ViTModel`.

    Attributes:
        image_size: edge of the images that the stored position table is for, in pixels.
    """

    hidden_size: Size
    num_hidden_layers: Count
    num_attention_heads: Count
    intermediate_size: Size
    image_size: Size
    patch_size: Size
    num_channels: Literal[3] = 3
    layer_norm_eps: float = Field(default=1e-12, gt=0)
    qkv_bias: bool = True
    hidden_act: Literal["gelu"] = "gelu"


class Tokenizer(Record):
    """The learned tokens of the three planes."""

    plane_size: Count
    num_channels: Size


class Backbone(Record):
    """The transformer that turns plane tokens into planes, under the image's tokens."""

    in_channels: Size
    num_attention_heads: Count
    attention_head_dim: Count
    num_layers: Count
    cross_attention_dim: Size
    norm_num_groups: Size = 32


class PostProcessor(Record):
    """The upsampling of the planes by two."""

    in_channels: Size
    out_channels: Size


class Decoder(Record):
    """The network of density and colour at one point."""

    in_channels: Size
    n_neurons: Size
    n_hidden_layers: Count
    activation: Literal["silu"] = "silu"


class Renderer(Record):
    """What the field's numbers mean.

    Attributes:
        radius: half the edge of the cube that the field fills.
        density_bias: density = exp(raw density + bias).
        num_samples_per_ray: of volume rendering.
    """

    radius: float = Field(gt=0)
    feature_reduction: Literal["concat"] = "concat"
    density_activation: Literal["exp"] = "exp"
    density_bias: float = -1.0
    color_activation: Literal["sigmoid"] = "sigmoid"
    num_samples_per_ray: Size = 128


class Model(Record):
    """A model's networks.

    Attributes:
        cond_image_size: edge of the image that the encoder takes, in pixels.
    """

    cond_image_size: int = Field(ge=1, le=4096)
    vit: Vit
    tokenizer: Tokenizer
    backbone: Backbone
    post_processor: PostProcessor
    decoder: Decoder
    renderer: Renderer

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        b, channels = self.backbone, self.tokenizer.num_channels
        pairs = {
            "backbone.in_channels and tokenizer.num_channels": (b.in_channels, channels),
            "post_processor.in_channels and tokenizer.num_channels": (self.post_processor.in_channels, channels),
            "backbone.cross_attention_dim and the encoder's hidden_size": (b.cross_attention_dim, self.vit.hidden_size),
            "decoder.in_channels and three times post_processor.out_channels": (
                self.decoder.in_channels,
                3 * self.post_processor.out_channels,
            ),
        }
        check_equal(pairs)
        divisors = {
            "cond_image_size, a multiple of the encoder's patch_size": (self.cond_image_size, self.vit.patch_size),
            "the encoder's hidden_size, a multiple of its heads": (self.vit.hidden_size, self.vit.num_attention_heads),
            "backbone.in_channels, a multiple of norm_num_groups": (b.in_channels, b.norm_num_groups),
        }
        if self.vit.image_size < self.vit.patch_size:
            raise ValueError(f"vit.image_size must be vit.patch_size ({self.vit.patch_size}) at least")
        for what, (number, divisor) in divisors.items():
            if number % divisor:
                raise ValueError(f"{number} is not {what} ({divisor})")
        return self

    @property
    def image_tokens(self) -> int:
        """Tokens that the encoder makes of an image: the class token, then its patches row by row."""
        return 1 + (self.cond_image_size // self.vit.patch_size) ** 2

    @property
    def plane_edge(self) -> int:
        """Edge of a plane of the field, in pixels."""
        return 2 * self.tokenizer.plane_size


def read_model(folder: Path) -> Model:
    """The model of `folder`/config.yaml.

    The encoder is given by `image_tokenizer.pretrained_model_name_or_path`, as released, or by its numbers under `vit`.
    References (`${tokenizer.num_channels}`) are followed; names of upstream's classes (`*_cls`) are not needed.

    Raises:
        UsageError: when the file is missing, is not such a configuration, or asks for what is not implemented.
    """
    path = folder / CONFIG
    data = read_released_yaml(path)
    if "vit" not in data:
        given = data.pop("image_tokenizer", None)
        named = given.get("pretrained_model_name_or_path") if isinstance(given, Mapping) else given
        if named not in _ENCODERS:
            known = ", ".join(_ENCODERS)
            raise UsageError(
                f"{path}: image_tokenizer: names {named!r}, not {known}; give the encoder's numbers as vit"
            )
        data["vit"] = dict(_ENCODERS[named])
    return parse(data, Model, path)
