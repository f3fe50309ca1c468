"""A TripoSG checkpoint's configuration, in the names and files of the release (a diffusers folder). No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from gen3dexport.documents.json_file import read_json
from gen3dexport.documents.plain import shown
from gen3dexport.documents.record import Record
from gen3dexport.errors import UsageError
from gen3dexport.models.configuration import check_equal, checked, fields_of
from gen3dexport.models.normalisation import IMAGENET, Channels

INDEX = "model_index.json"
"""The file that every checkpoint folder has."""

_PIPELINE = "TripoSGPipeline"
_WHAT = "a TripoSG checkpoint"
# Fields of the other libraries' files, with the one value that the equations here have.
_FIXED: Mapping[str, Mapping[str, Any]] = {
    "image_encoder_dinov2/config.json": {
        "model_type": "dinov2",
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-6,
        "mlp_ratio": 4,
        "num_channels": 3,
        "qkv_bias": True,
        "use_swiglu_ffn": False,
    },
    "feature_extractor_dinov2/preprocessor_config.json": {
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "resample": 3,
    },
    "scheduler/scheduler_config.json": {"num_train_timesteps": 1000, "use_dynamic_shifting": False},
}

Size = Annotated[int, Field(ge=1, le=2**16)]
"""A width, or an edge."""
Count = Annotated[int, Field(ge=1, le=1024)]
"""How many of what there are few."""
Deviation = Annotated[float, Field(gt=0)]


class Transformer(Record):
    """The flow.

    Attributes:
        in_channels: of a latent vector.
        cross_attention_dim: width of the picture's tokens.
    """

    num_attention_heads: Count = 16
    width: Size = 2048
    in_channels: Size = 64
    num_layers: Count = 21
    cross_attention_dim: Size = 1024

    @model_validator(mode="after")
    def _divides(self) -> Self:
        _whole("width", self.width, self.num_attention_heads)
        if self.width % 2:
            raise ValueError(f"width={self.width} is odd, and half of a timestep's features are sines")
        return self


class Vae(Record):
    """The autoencoder of shapes.

    Attributes:
        in_channels: numbers beside a surface point's position features: its normal.
        embed_frequency: frequencies of a point's features; embed_include_pi: whether times pi.
    """

    in_channels: Size = 3
    latent_channels: Size = 64
    num_attention_heads: Count = 8
    width_encoder: Size = 512
    width_decoder: Size = 1024
    num_layers_encoder: Count = 8
    num_layers_decoder: Count = 16
    embedding_type: Literal["frequency"] = "frequency"
    embed_frequency: int = Field(default=8, ge=1, le=32)
    embed_include_pi: bool = False

    @model_validator(mode="after")
    def _divides(self) -> Self:
        for name in ("width_encoder", "width_decoder"):
            _whole(name, getattr(self, name), self.num_attention_heads)
        return self

    @property
    def point_features(self) -> int:
        """Numbers that are made of a point's three."""
        return 3 + 6 * self.embed_frequency


class ImageEncoder(Record):
    """DINOv2 without registers, in the names of the transformers library.

    Attributes:
        image_size: edge of the pictures that the stored position table is for, in pixels.
    """

    hidden_size: Size = 1024
    num_hidden_layers: Count = 24
    num_attention_heads: Count = 16
    image_size: Size = 518
    patch_size: Size = 14

    @model_validator(mode="after")
    def _divides(self) -> Self:
        _whole("hidden_size", self.hidden_size, self.num_attention_heads)
        _whole("image_size", self.image_size, self.patch_size)
        return self


class Processor(Record):
    """How a picture is made ready for the encoder.

    Attributes:
        size: pixels of a picture's shorter edge, before its middle is cut out; crop_size: edge of that.
        image_mean, image_std: of the channels, in [0, 1].
    """

    size: Size = 256
    crop_size: Size = 224
    image_mean: Channels = IMAGENET.mean
    image_std: tuple[Deviation, Deviation, Deviation] = IMAGENET.std

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.crop_size > self.size:
            raise ValueError(f"crop_size={self.crop_size} is more than size={self.size}")
        return self


class Scheduler(Record):
    """The rectified flow's times: sigma = shift s / (1 + (shift - 1) s), t = 1000 sigma."""

    shift: float = Field(default=1.0, gt=0, le=1000)


class Model(Record):
    """A model's networks."""

    transformer: Transformer
    vae: Vae
    image_encoder: ImageEncoder
    processor: Processor
    scheduler: Scheduler

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        pairs = {
            "transformer: in_channels, vae: latent_channels": (
                self.transformer.in_channels,
                self.vae.latent_channels,
            ),
            "transformer: cross_attention_dim, image encoder: hidden_size": (
                self.transformer.cross_attention_dim,
                self.image_encoder.hidden_size,
            ),
        }
        check_equal(pairs)
        _whole("the processor's crop_size", self.processor.crop_size, self.image_encoder.patch_size)
        return self

    @property
    def image_tokens(self) -> int:
        """Tokens of a picture: the class token, then its patches row by row."""
        return 1 + (self.processor.crop_size // self.image_encoder.patch_size) ** 2


def _whole(name: str, number: int, divisor: int) -> None:
    if number % divisor:
        raise ValueError(f"{name}={number} is no multiple of {divisor}")


def read_model(folder: Path) -> Model:
    """The model of a checkpoint folder: `model_index.json`, and a configuration in each part's folder.

    Raises:
        UsageError: when a file is missing, is not such a configuration, or asks for what is not implemented.
    """
    path = folder / INDEX
    found = read_json(path, _WHAT).get("_class_name")
    if found != _PIPELINE:
        raise UsageError(f"{path}: _class_name is {shown(found)}, and {_PIPELINE} in {_WHAT}; name its folder")
    parts = {
        "transformer": _own(folder / "transformer/config.json"),
        "vae": _own(folder / "vae/config.json"),
        "image_encoder": _others(folder, "image_encoder_dinov2/config.json", ImageEncoder),
        "processor": _processor(folder),
        "scheduler": _others(folder, "scheduler/scheduler_config.json", Scheduler),
    }
    return checked(Model, parts, _WHAT, str(folder), "copy its configurations again")


def _own(path: Path) -> dict[str, Any]:
    """A configuration whose every field makes the network; names that begin with `_` are the library's notes."""
    return {name: value for name, value in read_json(path, _WHAT).items() if not name.startswith("_")}


def _others(folder: Path, name: str, model: type[Record]) -> dict[str, Any]:
    """The fields of `model` in a file that says more, which must have the values that the equations have."""
    data = read_json(folder / name, _WHAT)
    for key, value in _FIXED[name].items():
        if key in data and data[key] != value:
            raise UsageError(f"{folder / name}: {key} is {shown(data[key])}, and {value!r} in every TripoSG")
    return fields_of(model, data)


def _processor(folder: Path) -> dict[str, Any]:
    name = "feature_extractor_dinov2/preprocessor_config.json"
    made = _others(folder, name, Processor)
    for key in ("size", "crop_size"):
        if isinstance(edges := made.get(key), Mapping):
            values = list(edges.values())
            if set(edges) not in ({"shortest_edge"}, {"height", "width"}) or any(v != values[0] for v in values):
                raise UsageError(f"{folder / name}: {key} is {shown(dict(edges))}, and needs one length of all edges")
            made[key] = values[0]
    if read_json(folder / name, _WHAT).get("do_center_crop") is False:
        made["crop_size"] = made.get("size", Processor().size)
    return made
