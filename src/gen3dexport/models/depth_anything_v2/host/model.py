"""A Depth Anything V2 model's configuration, in the names of the published `config.json`. No torch."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from gen3dexport.documents.record import Record
from gen3dexport.errors import UsageError
from gen3dexport.models.configuration import checked, fields_of, read_configuration
from gen3dexport.models.whose_configuration import refuse_others

CONFIG = "config.json"
"""The file that every checkpoint folder has."""

_WHAT = "a Depth Anything V2 configuration"
# What the transformers library takes where the file says nothing.
_BACKBONE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "image_size": 224}
# Fields of the published files with the one value that the equations here have.
_FIXED: Mapping[str, Any] = {
    "model_type": "depth_anything",
    "reassemble_factors": [4, 2, 1, 0.5],
    "head_in_index": -1,
    "add_projection": False,
}
_FIXED_BACKBONE: Mapping[str, Any] = {
    "model_type": "dinov2",
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-6,
    "mlp_ratio": 4,
    "num_channels": 3,
    "qkv_bias": True,
    "use_swiglu_ffn": False,
    "apply_layernorm": True,
}
_NECKS = 4
_FEWEST = 12  # blocks of the smallest published model

Size = Annotated[int, Field(ge=1, le=2**14)]
Count = Annotated[int, Field(ge=1, le=256)]


class Model(Record):
    """A model's network.

    Attributes:
        image_size: edge of the pictures that the stored position table is for, in pixels.
        out_indices: the four blocks whose tokens the head takes, from 1.
        neck_hidden_sizes: channels of the four maps; fusion_hidden_size: of the fused ones; head_hidden_size: of the
            last one but the result.
        max_depth: metres at which a metric model ends; nothing for a relative one.
    """

    hidden_size: Size
    num_hidden_layers: Count
    num_attention_heads: Count
    image_size: Size
    patch_size: Size = 14
    out_indices: tuple[int, int, int, int]
    neck_hidden_sizes: tuple[Size, Size, Size, Size]
    fusion_hidden_size: Annotated[int, Field(ge=2, le=2**14)]
    head_hidden_size: Size = 32
    depth_estimation_type: Literal["relative", "metric"] = "relative"
    max_depth: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is no multiple of {self.num_attention_heads} heads")
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size {self.image_size} is no multiple of patch_size {self.patch_size}")
        taps = (0, *self.out_indices, self.num_hidden_layers + 1)
        if any(one >= other for one, other in itertools.pairwise(taps)):
            raise ValueError(f"out_indices {list(self.out_indices)} are not rising blocks of {self.num_hidden_layers}")
        if self.depth_estimation_type == "metric" and self.max_depth is None:
            raise ValueError("max_depth is missing, which a metric model needs: 20 (indoor) or 80 (outdoor)")
        return self

    @property
    def metric(self) -> bool:
        """Whether the model gives metres."""
        return self.depth_estimation_type == "metric"

    @property
    def table_edge(self) -> int:
        """Edge of the grid of patches that the stored position table is for."""
        return self.image_size // self.patch_size


def read_model(folder: Path) -> Model:
    """The model of `folder`/config.json.

    Raises:
        UsageError: when the file is missing, is not such a configuration, asks for what is not implemented, or is of
            another version of Depth Anything.
    """
    path = folder / CONFIG
    remedy = (
        "the original release has none: copy the one of weights/Depth-Anything-V2-Small (or "
        "-Base, -Large, -Metric-...) of this package beside its .pth"
    )
    return parse_model(read_configuration(path, _WHAT, remedy), str(path))


def parse_model(data: Mapping[str, Any], where: str) -> Model:
    """The model of a configuration: nested as published, or flat.

    Raises:
        UsageError: as `read_model` does.
    """
    refuse_others(data, "depth_anything_v2", where)
    backbone = data.get("backbone_config")
    nested = dict(_BACKBONE, **backbone) if isinstance(backbone, Mapping) else dict(data)
    _check_fixed(data, _FIXED, where)
    if isinstance(backbone, Mapping):
        _check_fixed(backbone, _FIXED_BACKBONE, f"{where}: backbone_config")
    if "out_indices" not in nested and isinstance(nested.get("out_features"), list):
        nested["out_indices"] = [int(str(name).removeprefix("stage") or 0) for name in nested["out_features"]]
    known = {**data, **fields_of(Model, nested)}
    if known.get("depth_estimation_type", "relative") == "relative":
        known["max_depth"] = None
    model = checked(Model, fields_of(Model, known), _WHAT, where)
    blocks = model.num_hidden_layers
    if blocks >= _FEWEST and model.out_indices == tuple(range(blocks - _NECKS + 1, blocks + 1)):
        raise UsageError(
            f"{where}: out_indices are the last four blocks ({', '.join(map(str, model.out_indices))}), as in Depth "
            "Anything V1; give a checkpoint of Depth Anything V2"
        )
    return model


def _check_fixed(data: Mapping[str, Any], fixed: Mapping[str, Any], where: str) -> None:
    for name, value in fixed.items():
        if name in data and data[name] != value:
            raise UsageError(f"{where}: {name} is {data[name]!r}, and {value!r} in every Depth Anything V2")
