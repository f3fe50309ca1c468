"""An SF3D model's configuration, in the names of its released `config.yaml`. No torch.

Defaults are the released values where these are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from gen3dexport.documents.document import parse
from gen3dexport.documents.record import Record
from gen3dexport.errors import UsageError
from gen3dexport.models.configuration import check_equal
from gen3dexport.models.released_yaml import read_released_yaml
from gen3dexport.models.sf3d.host.parts import (
    Backbone,
    CameraEmbedder,
    Decoder,
    GlobalEstimator,
    ImageEstimator,
    ImageTokenizer,
    PostProcessor,
    Tokenizer,
)

CONFIG = "config.yaml"
"""The file that every checkpoint folder has."""

_DINO = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "image_size": 518, "patch_size": 14}
_ENCODERS = {"facebook/dinov2-large": _DINO}
_CLIPS: Mapping[str, Mapping[str, int]] = {"ViT-B-32": {}}
_PLANES = 3


class Model(Record):
    """A model's networks.

    Attributes:
        cond_image_size: edge of the picture that the encoder takes, in pixels.
        isosurface_resolution: cells along an edge of the cube that the surface is found in.
        isosurface_threshold: density of the surface.
        radius: half the edge of the cube that the field fills.
        default_fovy_deg, default_distance: vertical field of view in degrees, and distance from the origin, of the
            camera that the picture is said to be taken by.
        image_estimator: of the material; None for a model without. global_estimator: of illumination, which no asset
            has; its tensors are checked.
    """

    cond_image_size: int = Field(default=512, ge=1, le=4096)
    isosurface_resolution: int = Field(default=160, ge=2, le=1023)
    isosurface_threshold: float = Field(default=10.0, gt=0)
    radius: float = Field(default=0.87, gt=0)
    default_fovy_deg: float = Field(default=40.0, gt=0, lt=180)
    default_distance: float = Field(default=1.6, gt=0)
    camera_embedder: CameraEmbedder = CameraEmbedder()
    image_tokenizer: ImageTokenizer = ImageTokenizer()
    tokenizer: Tokenizer = Tokenizer()
    backbone: Backbone = Backbone()
    post_processor: PostProcessor = PostProcessor()
    decoder: Decoder = Decoder()
    image_estimator: ImageEstimator | None = None
    global_estimator: GlobalEstimator | None = None

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        b, image = self.backbone, self.image_tokenizer
        pairs = {
            "backbone.raw_triplane_channels and tokenizer.num_channels": (
                b.raw_triplane_channels,
                self.tokenizer.num_channels,
            ),
            "post_processor.in_channels and tokenizer.num_channels": (
                self.post_processor.in_channels,
                self.tokenizer.num_channels,
            ),
            "backbone.raw_image_channels and the encoder's hidden_size": (b.raw_image_channels, image.hidden_size),
            "backbone.cross_attention_dim and the encoder's hidden_size": (b.cross_attention_dim, image.hidden_size),
            "image_tokenizer.modulation_cond_dim and camera_embedder.out_channels": (
                image.modulation_cond_dim,
                self.camera_embedder.out_channels,
            ),
            "decoder.in_channels and three times post_processor.out_channels": (
                self.decoder.in_channels,
                _PLANES * self.post_processor.out_channels,
            ),
        }
        if self.global_estimator is not None:
            pairs["global_estimator.triplane_features and tokenizer.num_channels"] = (
                self.global_estimator.triplane_features,
                self.tokenizer.num_channels,
            )
        check_equal(pairs)
        if self.cond_image_size < image.patch_size:
            raise ValueError(f"cond_image_size must be the encoder's patch_size ({image.patch_size}) at least")
        if self.decoder.missing():
            raise ValueError(f"decoder.heads: lacks {', '.join(self.decoder.missing())}")
        return self

    @property
    def image_tokens(self) -> int:
        """Tokens that the encoder makes of a picture: the class token, then its whole patches row by row."""
        return 1 + (self.cond_image_size // self.image_tokenizer.patch_size) ** 2

    @property
    def plane_edge(self) -> int:
        """Edge of a plane of the field, in pixels."""
        return self.post_processor.scale_factor * self.tokenizer.plane_size

    @property
    def material(self) -> tuple[str, ...]:
        """What is estimated of the whole picture, by name."""
        return () if self.image_estimator is None else tuple(head.name for head in self.image_estimator.heads)


def read_model(folder: Path) -> Model:
    """The model of `folder`/config.yaml.

    The encoder is given by `image_tokenizer.pretrained_model_name_or_path` or by its numbers, CLIP by
    `image_estimator.model` or by its numbers under `image_estimator.clip`. Fields of training are passed over.

    Raises:
        UsageError: when the file is missing, is not such a configuration, or asks for what is not implemented.
    """
    path = folder / CONFIG
    data = read_released_yaml(path)
    _refuse_others(data, path)
    image, material = data.get("image_tokenizer"), data.get("image_estimator")
    if isinstance(image, dict):
        _named(image, "pretrained_model_name_or_path", _ENCODERS, f"{path}: image_tokenizer", "hidden_size", image)
    if isinstance(material, dict):
        clip = material.setdefault("clip", {})
        if isinstance(clip, dict):
            _named(material, "model", _CLIPS, f"{path}: image_estimator", "clip", clip)
    _keep_known(data, Model)
    return parse(data, Model, path)


def _refuse_others(data: Mapping[str, Any], path: Path) -> None:
    """Raises UsageError for TripoSR's configuration, which has a renderer and no camera."""
    if "renderer" in data and "camera_embedder" not in data:
        raise UsageError(f"{path}: of TripoSR; use the family triposr")
    if "backbone" not in data:
        raise UsageError(f"{path}: backbone: missing; not an SF3D configuration, copy it again")


def _named(
    part: dict[str, Any], key: str, known: Mapping[str, Mapping[str, int]], where: str, given: str, into: dict[str, Any]
) -> None:
    """The numbers of a network that a part names, where it does not give them itself."""
    name = part.pop(key, None)
    if name is None:
        return
    if name in known:
        for field, number in known[name].items():
            into.setdefault(field, number)
    elif not part.get(given):
        raise UsageError(f"{where}: names {name!r}, not {', '.join(known)}; give the network's numbers")


def _keep_known(data: Any, model: type[Record]) -> None:
    """Take off fields that `model` and the models in its fields do not have."""
    for name in [name for name in data if name not in model.model_fields]:
        del data[name]
    for name, value in data.items():
        inner = _record_of(model.model_fields[name].annotation)
        for item in value if isinstance(value, list) else [value]:
            if inner is not None and isinstance(item, dict):
                _keep_known(item, inner)


def _record_of(annotation: Any) -> type[Record] | None:
    """The record that a field's type is or has."""
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return annotation
    found = (_record_of(part) for part in getattr(annotation, "__args__", ()))
    return next((record for record in found if record is not None), None)
