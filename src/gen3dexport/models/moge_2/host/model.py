"""A MoGe-2 model's configuration, in the names of the release's `model_config`. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from gen3dexport.documents.record import Record
from gen3dexport.models.configuration import checked, read_configuration
from gen3dexport.models.whose_configuration import refuse_others

CONFIG = "config.json"
"""The file that every checkpoint folder has: the entry `model_config` of the release's model.pt."""

_WHAT = "a MoGe-2 configuration"
_RELEASED = {"img_size": 518, "patch_size": 14}
_BACKBONES: Mapping[str, Mapping[str, int]] = {
    "dinov2_vits14": {"embed_dim": 384, "depth": 12, "num_heads": 6, **_RELEASED},
    "dinov2_vitb14": {"embed_dim": 768, "depth": 12, "num_heads": 12, **_RELEASED},
    "dinov2_vitl14": {"embed_dim": 1024, "depth": 24, "num_heads": 16, **_RELEASED},
}

Size = Annotated[int, Field(ge=1, le=2**14)]
Count = Annotated[int, Field(ge=0, le=64)]
Up = Literal["conv_transpose", "bilinear"]
"""How a level is brought to twice its size."""
Widths = tuple[Size, Size, Size, Size, Size]


class Vit(Record):
    """The transformer.

    Attributes:
        img_size: edge of the pictures that the stored position table is for, in pixels.
    """

    embed_dim: Size
    depth: Size
    num_heads: Size
    img_size: Size
    patch_size: Literal[14] = 14


class Encoder(Record):
    """The encoder: a transformer by its name (or by its numbers), the blocks whose tokens are taken (from 0), and the
    channels that these become."""

    backbone: str
    backbone_args: Vit | None = None
    intermediate_layers: tuple[Count, ...] = Field(min_length=1, max_length=8)
    dim_out: Size


class Stack(Record):
    """Five levels of convolutions: channels that come in, of a level, and that go out, and residual blocks of each."""

    dim_in: Widths
    dim_out: tuple[Size | None, Size | None, Size | None, Size | None, Size | None] | None = None
    dim_res_blocks: Widths
    num_res_blocks: tuple[Count, Count, Count, Count, Count]
    res_block_in_norm: Literal["none"] = "none"
    res_block_hidden_norm: Literal["none"] = "none"
    resamplers: tuple[Up, Up, Up, Up] = ("conv_transpose", "conv_transpose", "conv_transpose", "bilinear")


class Mlp(Record):
    """Linear layers by their widths."""

    dims: tuple[Size, ...] = Field(min_length=2, max_length=8)


class Model(Record):
    """A model's network.

    Attributes:
        num_tokens_range: fewest and most patches of a picture that the model was trained with.
    """

    encoder: Encoder
    neck: Stack
    points_head: Stack
    mask_head: Stack
    normal_head: Stack | None = None
    scale_head: Mlp | None = None
    remap_output: Literal["exp"] = "exp"
    num_tokens_range: tuple[Size, Size] = (1200, 3600)

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        vit, encoder = self.vit, self.encoder
        if vit.embed_dim % vit.num_heads or vit.img_size % vit.patch_size:
            raise ValueError("encoder: width is no multiple of the heads, or img_size none of the patch")
        if max(encoder.intermediate_layers) >= vit.depth:
            raise ValueError(f"encoder: intermediate_layers go beyond the {vit.depth} blocks")
        if self.neck.dim_in != (encoder.dim_out + 2, 2, 2, 2, 2):
            raise ValueError("neck.dim_in must be encoder.dim_out + 2, and 2 for every other level")
        for name in self.heads:
            head: Stack = getattr(self, name)
            if head.dim_in != self.neck.dim_res_blocks:
                raise ValueError(f"{name}.dim_in must be neck.dim_res_blocks")
        if self.scale_head is not None and self.scale_head.dims[0] != vit.embed_dim:
            raise ValueError(f"scale_head.dims must begin with the encoder's width, {vit.embed_dim}")
        return self

    @property
    def vit(self) -> Vit:
        """The transformer's numbers."""
        encoder = self.encoder
        if encoder.backbone_args is not None:
            return encoder.backbone_args
        if encoder.backbone not in _BACKBONES:
            raise ValueError(f"encoder.backbone {encoder.backbone!r} is not one of {', '.join(_BACKBONES)}")
        return Vit.model_validate(_BACKBONES[encoder.backbone])

    @property
    def taps(self) -> tuple[int, ...]:
        """The blocks whose tokens are taken, from 0."""
        return self.encoder.intermediate_layers

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads that the model has."""
        return tuple(n for n in ("points_head", "normal_head", "mask_head") if getattr(self, n) is not None)


def parse_model(data: Mapping[str, Any], where: str) -> Model:
    """The model of a configuration.

    Raises:
        UsageError: when it is none, is of another family, or asks for what is not implemented.
    """
    refuse_others(data, "moge_2", where)
    return checked(Model, data, _WHAT, where)


def read_model(folder: Path) -> Model:
    """The model of `folder`/config.json.

    Raises:
        UsageError: when the file is missing, is not such a configuration, or asks for what is not implemented.
    """
    path = folder / CONFIG
    remedy = "copy the one of weights/MoGe-2-S (or -B, -L) of this package beside the checkpoint"
    return parse_model(read_configuration(path, _WHAT, remedy), str(path))
