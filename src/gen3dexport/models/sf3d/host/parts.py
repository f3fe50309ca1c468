"""Configurations of an SF3D model's parts, in the names of the release. No torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gen3dexport.documents.record import Record

Size = Annotated[int, Field(ge=1, le=2**16)]
"""A width, or an edge."""
Count = Annotated[int, Field(ge=1, le=1024)]
"""How many of what there are few."""

HEADS = ("density", "vertex_offset", "features", "perturb_normal")
"""What the decoder gives at a point."""
Activation = Literal["trunc_exp", "exp", "sigmoid", "normalize_channel_last", "softplus", "linear"]


def _whole(name: str, number: int, divisor: int) -> None:
    if number % divisor:
        raise ValueError(f"{name}={number} is no multiple of {divisor}")


class CameraEmbedder(Record):
    """The layer that a camera goes through: its pose and its normalised intrinsics, row by row."""

    in_channels: Literal[25] = 25
    out_channels: Size = 768
    conditions: tuple[Literal["c2w_cond"], Literal["intrinsic_normed_cond"]] = ("c2w_cond", "intrinsic_normed_cond")


class ImageTokenizer(Record):
    """DINOv2 whose norms the camera modulates.

    Attributes:
        image_size: edge of the pictures that the stored position table is for, in pixels.
        modulation_cond_dim: width of the camera's embedding.
    """

    hidden_size: Size = 1024
    num_hidden_layers: Count = 24
    num_attention_heads: Count = 16
    mlp_ratio: Count = 4
    image_size: Size = 518
    patch_size: Size = 14
    layer_norm_eps: float = Field(default=1e-6, gt=0)
    qkv_bias: Literal[True] = True
    hidden_act: Literal["gelu"] = "gelu"
    modulation_cond_dim: Size = 768

    @model_validator(mode="after")
    def _divides(self) -> Self:
        _whole("hidden_size", self.hidden_size, self.num_attention_heads)
        if self.image_size < self.patch_size:
            raise ValueError(f"image_size must be patch_size ({self.patch_size}) at least")
        return self

    @property
    def table_edge(self) -> int:
        """Edge of the grid that the stored position table is for, in patches."""
        return self.image_size // self.patch_size


class Tokenizer(Record):
    """The learned tokens of the three planes."""

    plane_size: Count = 96
    num_channels: Size = 1024


class Backbone(Record):
    """The two streams: plane tokens, and latents that read them."""

    num_attention_heads: Count = 16
    attention_head_dim: Count = 64
    raw_triplane_channels: Size = 1024
    triplane_channels: Size = 1024
    raw_image_channels: Size = 1024
    num_latents: Size = 1792
    num_blocks: Count = 4
    num_basic_blocks: Count = 3
    cross_attention_dim: Size = 1024
    norm_num_groups: Size = 32
    norm_x_input: Literal[False] = False
    mix_latent: Literal[True] = True
    attention_bias: Literal[False] = False

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _whole("raw_triplane_channels", self.raw_triplane_channels, self.norm_num_groups)
        if self.width != self.triplane_channels:
            raise ValueError(f"triplane_channels={self.triplane_channels} is not heads times head width ({self.width})")
        return self

    @property
    def width(self) -> int:
        """Width of both streams."""
        return self.num_attention_heads * self.attention_head_dim


class PostProcessor(Record):
    """The upsampling of the planes."""

    in_channels: Size = 1024
    out_channels: Size = 40
    scale_factor: Count = 4
    conv_layers: Count = 4


class Head(Record):
    """One head of the decoder.

    Attributes:
        out_bias: added to the raw output before the activation.
    """

    name: str = Field(pattern=r"^[A-Za-z_]\w*$")
    out_channels: Size
    n_hidden_layers: Count
    out_bias: float = 0.0
    output_activation: Activation | None = None


class Decoder(Record):
    """The networks of what there is at one point."""

    in_channels: Size = 120
    n_neurons: Size = 64
    activation: Literal["silu"] = "silu"
    heads: tuple[Head, ...] = (
        Head(name="density", out_channels=1, n_hidden_layers=2, out_bias=-1.0, output_activation="trunc_exp"),
        Head(name="features", out_channels=3, n_hidden_layers=3, output_activation="sigmoid"),
        Head(name="perturb_normal", out_channels=3, n_hidden_layers=3, output_activation="normalize_channel_last"),
        Head(name="vertex_offset", out_channels=3, n_hidden_layers=2),
    )

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [head.name for head in self.heads]
        if len(set(names)) < len(names):
            raise ValueError(f"heads: two have one name ({', '.join(names)})")
        return self

    def head(self, name: str) -> Head:
        """The head of that name."""
        return next(head for head in self.heads if head.name == name)

    def missing(self) -> tuple[str, ...]:
        """Heads that an asset needs and that are not here."""
        return tuple(name for name in HEADS if name not in {head.name for head in self.heads})


class Estimate(Record):
    """One head of an estimator.

    Attributes:
        output_bias: added to the raw output before the activation.
        shape: of the result, -1 for the batch.
    """

    name: str = Field(pattern=r"^[A-Za-z_]\w*$")
    out_channels: Size
    n_hidden_layers: Count
    output_activation: Activation | None = None
    output_bias: float = 0.0
    add_to_decoder_features: bool = False
    shape: tuple[int, ...] | None = None


class Clip(Record):
    """CLIP's two towers; the text tower's tensors are in a released file, and nothing uses them."""

    width: Size = 768
    layers: Count = 12
    heads: Count = 12
    image_size: Size = 224
    patch_size: Size = 32
    embed_dim: Size = 512
    text_width: Size = 512
    text_layers: Count = 12
    context_length: Size = 77
    vocab_size: int = Field(default=49408, ge=1, le=2**20)

    @model_validator(mode="after")
    def _divides(self) -> Self:
        _whole("width", self.width, self.heads)
        _whole("image_size", self.image_size, self.patch_size)
        return self


class ImageEstimator(Record):
    """The material of the whole picture, from CLIP's features of it."""

    clip: Clip = Clip()
    hidden_features: Size = 512
    activation: Literal["relu"] = "relu"
    distribution: Literal["beta"] = "beta"
    distribution_eval: Literal["mode"] = "mode"
    heads: tuple[Estimate, ...] = (
        Estimate(name="roughness", out_channels=1, n_hidden_layers=3, output_bias=1.0, shape=(-1, 1, 1)),
        Estimate(name="metallic", out_channels=1, n_hidden_layers=3, output_bias=1.0, shape=(-1, 1, 1)),
    )

    @model_validator(mode="after")
    def _numbers(self) -> Self:
        names = {head.name for head in self.heads}
        if len(names) < len(self.heads) or not names <= {"roughness", "metallic"}:
            raise ValueError("heads: an asset takes roughness and metallic, once each")
        if any(head.out_channels != 1 or head.output_activation not in (None, "linear") for head in self.heads):
            raise ValueError("heads: a beta distribution has one channel, and no activation (linear)")
        return self


class GlobalEstimator(Record):
    """Illumination, from the planes before they are upsampled."""

    triplane_features: Size = 1024
    n_layers: Count = 2
    hidden_features: Size = 512
    activation: Literal["relu"] = "relu"
    pool: Literal["max"] = "max"
    heads: tuple[Estimate, ...] = ()
