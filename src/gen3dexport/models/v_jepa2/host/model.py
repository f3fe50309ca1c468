"""A V-JEPA 2 model's configuration, in the names of the published `config.json`. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from gen3dexport.documents.record import Record
from gen3dexport.errors import UsageError
from gen3dexport.models.configuration import checked, fields_of, read_configuration
from gen3dexport.models.whose_configuration import refuse_others

CONFIG = "config.json"
"""The file that every checkpoint folder has."""
TYPE = "vjepa2"
"""What a configuration says that it is of (`model_type`)."""

_WHAT = "a V-JEPA 2 configuration"
# Fields with the one value that the equations here have.
_FIXED: Mapping[str, Any] = {"hidden_act": "gelu", "in_chans": 3}
# Fields that a V-JEPA 2.1 configuration would set, by the change that is proposed to the transformers library.
_LATER = ("use_rope_interleave", "use_modality_embeddings", "interpolate_rope", "hierarchical_layers")
_NO_LATER = (
    "V-JEPA 2.1 turns channels otherwise and has further layers, and the transformers library does not have it either "
    "(its issue 45496); take a V-JEPA 2 checkpoint, e.g. facebook/vjepa2-vitl-fpc64-256"
)

Size = Annotated[int, Field(ge=1, le=2**14)]
Count = Annotated[int, Field(ge=1, le=256)]
Ratio = Annotated[float, Field(gt=0, le=64)]


class Model(Record):
    """A model's networks; where the file says nothing, as the transformers library.

    Attributes:
        patch_size: edge of a patch in pixels; tubelet_size: its frames; crop_size: edge of a frame in pixels.
        frames_per_clip: frames that it was trained with; positions are turned, not stored, so that any number goes.
        mlp_ratio: width of a layer's inner layer over its own; qkv_bias: whether queries, keys and values have one.
        pred_num_mask_tokens: stored tokens that can stand for what is to be predicted; the second one is used.
    """

    patch_size: Size = 16
    crop_size: Size = 256
    frames_per_clip: Size = 64
    tubelet_size: Count = 2
    hidden_size: Size = 1024
    num_attention_heads: Count = 16
    num_hidden_layers: Count = 24
    mlp_ratio: Ratio = 4.0
    layer_norm_eps: Annotated[float, Field(gt=0, lt=1)] = 1e-6
    qkv_bias: bool = True
    pred_hidden_size: Size = 384
    pred_num_attention_heads: Count = 12
    pred_num_hidden_layers: Count = 12
    pred_num_mask_tokens: Count = 10
    pred_mlp_ratio: Ratio = 4.0

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        for width, heads in (
            ("hidden_size", "num_attention_heads"),
            ("pred_hidden_size", "pred_num_attention_heads"),
        ):
            if getattr(self, width) % getattr(self, heads):
                raise ValueError(f"{width} {getattr(self, width)} is no multiple of {getattr(self, heads)} heads")
        if self.crop_size % self.patch_size:
            raise ValueError(f"crop_size {self.crop_size} is no multiple of patch_size {self.patch_size}")
        return self

    @property
    def grid(self) -> int:
        """Patches along an edge of a frame."""
        return self.crop_size // self.patch_size

    @property
    def places(self) -> int:
        """Patches of a frame."""
        return self.grid**2


def read_model(folder: Path) -> Model:
    """The model of `folder`/config.json.

    Raises:
        UsageError: when the file is missing, is not such a configuration, or is of a model that is not here.
    """
    path = folder / CONFIG
    remedy = (
        "take the one that the published checkpoint has, or copy that of weights/V-JEPA2-L (or "
        "-H, -g) of this package beside it"
    )
    return parse_model(read_configuration(path, _WHAT, remedy), str(path))


def parse_model(data: Mapping[str, Any], where: str) -> Model:
    """The model of a configuration; fields of training alone are passed over.

    Raises:
        UsageError: as `read_model` does.
    """
    refuse_others(data, "v_jepa2", where)
    kind = data.get("model_type", TYPE)
    if kind != TYPE:
        raise UsageError(f"{where}: model_type is {kind!r}, and this family has {TYPE!r} alone; {_NO_LATER}")
    if later := [name for name in _LATER if data.get(name)]:
        raise UsageError(f"{where}: sets {later[0]}, so it is of V-JEPA 2.1; {_NO_LATER}")
    heads = [name for name in data.get("architectures") or () if "Classification" in str(name)]
    if heads:
        raise UsageError(
            f"{where}: of {heads[0]}, a classifier of films; take the model that it was trained from, VJEPA2Model, "
            "e.g. facebook/vjepa2-vitl-fpc64-256"
        )
    for field, value in _FIXED.items():
        if data.get(field, value) != value:
            raise UsageError(f"{where}: {field} is {data[field]!r}, and only {value!r} is implemented")
    return checked(Model, fields_of(Model, data), _WHAT, where)
