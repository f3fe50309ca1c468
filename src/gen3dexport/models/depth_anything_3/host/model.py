"""A Depth Anything 3 model's configuration, in the names of the release's code. No torch."""

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
PATCH = 14

_WHAT = "a Depth Anything 3 configuration"
_BACKBONES: Mapping[str, Mapping[str, int]] = {
    "vits": {"embed_dim": 384, "depth": 12, "num_heads": 6},
    "vitb": {"embed_dim": 768, "depth": 12, "num_heads": 12},
    "vitl": {"embed_dim": 1024, "depth": 24, "num_heads": 16},
}
_GIANT = 1536
_OBJECT = "__object__"  # where the release's files say which class they are for

Size = Annotated[int, Field(ge=1, le=2**14)]
Count = Annotated[int, Field(ge=0, le=256)]


class Net(Record):
    """The transformer.

    Attributes:
        img_size: edge of the pictures that the stored position table is for, in pixels.
        out_layers: the four blocks whose tokens the head takes, from 0.
        alt_start, qknorm_start, rope_start: the first block that may attend across views, that normalises queries and
            keys, and that turns them by their places; None for a model that does not.
        cat_token: whether the head also takes the tokens of the last block within one view.
    """

    embed_dim: Size
    depth: Count
    num_heads: Size
    img_size: Size = 518
    out_layers: tuple[Count, Count, Count, Count]
    alt_start: Annotated[int, Field(ge=1, le=256)] | None = None
    qknorm_start: Count | None = None
    rope_start: Count | None = None
    cat_token: bool = False

    @property
    def table_edge(self) -> int:
        """Edge of the grid of patches that the stored position table is for."""
        return self.img_size // PATCH


class Head(Record):
    """The head: widths of the tokens, of the fused maps and of the four maps, and channels of the result."""

    dim_in: Size
    output_dim: Literal[1, 2]
    features: Annotated[int, Field(ge=2, le=2**14)]
    out_channels: tuple[Size, Size, Size, Size]


class CameraEncoder(Record):
    """The network from cameras to tokens."""

    dim_out: Size
    num_heads: Size = 16


class CameraDecoder(Record):
    """The network from tokens to cameras."""

    dim_in: Size


class Model(Record):
    """A model's networks.

    Attributes:
        head_type: `DualDPT` gives depth, its confidence and rays; `DPT` gives depth and sky.
        metric: whether depths become metres by the focal length, which the name of the published file says.
    """

    net: Net
    head: Head
    head_type: Literal["DualDPT", "DPT"]
    cam_enc: CameraEncoder | None = None
    cam_dec: CameraDecoder | None = None
    metric: bool = False

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        net, head, dual = self.net, self.head, self.head_type == "DualDPT"
        if net.embed_dim % net.num_heads or (net.embed_dim // net.num_heads) % 4:
            raise ValueError(f"net: {net.num_heads} heads of width {net.embed_dim} are not multiples of 4 channels")
        if net.img_size % PATCH:
            raise ValueError(f"net: img_size {net.img_size} is no multiple of the patch ({PATCH})")
        taps = (-1, *net.out_layers, net.depth)
        if any(one >= other for one, other in itertools.pairwise(taps)):
            raise ValueError(f"net: out_layers {list(net.out_layers)} are not rising blocks of {net.depth}")
        wanted = net.embed_dim * (2 if net.cat_token else 1)
        if head.dim_in != wanted:
            raise ValueError(f"head: dim_in is {head.dim_in}, and tokens are {wanted} wide")
        if head.output_dim != (2 if dual else 1):
            raise ValueError(f"head: output_dim is {head.output_dim}, and {2 if dual else 1} in every {self.head_type}")
        if dual and any(c % 4 for c in (head.features // 2, *head.out_channels)):
            raise ValueError("head: channels of a DualDPT, and half of its features, must be multiples of 4")
        if dual != (net.alt_start is not None) or dual != (self.cam_dec is not None):
            raise ValueError("a DualDPT comes with net.alt_start and cam_dec, a DPT with neither")
        if self.cam_dec is not None and self.cam_dec.dim_in != head.dim_in:
            raise ValueError(f"cam_dec: dim_in is {self.cam_dec.dim_in}, and tokens are {head.dim_in} wide")
        if self.cam_enc is not None and self.cam_enc.dim_out != net.embed_dim:
            raise ValueError(f"cam_enc: dim_out is {self.cam_enc.dim_out}, and tokens are {net.embed_dim} wide")
        if self.metric and dual:
            raise ValueError("metric is of models of one view alone")
        return self

    @property
    def any_view(self) -> bool:
        """Whether the model takes several views and gives their cameras."""
        return self.head_type == "DualDPT"


def read_model(folder: Path) -> Model:
    """The model of `folder`/config.json.

    Raises:
        UsageError: when the file is missing, is not such a configuration, or is of a model that is not here.
    """
    path = folder / CONFIG
    remedy = (
        "copy the one of weights/DA3-Small (or -Base, -Large, -Mono-Large, -Metric-Large) of "
        "this package beside the checkpoint"
    )
    return parse_model(read_configuration(path, _WHAT, remedy), str(path))


def parse_model(data: Mapping[str, Any], where: str) -> Model:
    """The model of a configuration: flat, or as the release's code nests it (`config`, `__object__`, `net.name`).

    Raises:
        UsageError: as `read_model` does.
    """
    name = str(data.get("model_name", ""))
    inner = data.get("config", data)
    if not isinstance(inner, Mapping):
        raise UsageError(f"{where}: not {_WHAT}: config is no mapping")
    _refuse_others(inner, name, where)
    known: dict[str, Any] = {key: _plain(value) for key, value in fields_of(Model, inner).items()}
    net, head = known.get("net"), inner.get("head")
    if isinstance(net, dict):
        net = {**_BACKBONES.get(str(net.pop("name", "")), {}), **net}
        known["net"] = {k: None if v == -1 else v for k, v in fields_of(Net, net).items()}
    if "head_type" not in known and isinstance(head, Mapping) and isinstance(head.get(_OBJECT), Mapping):
        known["head_type"] = head[_OBJECT].get("name")
    for key, fields in (("head", Head), ("cam_enc", CameraEncoder), ("cam_dec", CameraDecoder)):
        if isinstance(part := known.get(key), dict):
            known[key] = fields_of(fields, part)
    known.setdefault("metric", "metric" in name.lower())
    return checked(Model, known, _WHAT, where)


def _plain(value: Any) -> Any:
    return {k: v for k, v in value.items() if k != _OBJECT} if isinstance(value, Mapping) else value


def _refuse_others(data: Mapping[str, Any], name: str, where: str) -> None:
    """Refuse what is another model's, by its name."""
    if "anyview" in data or "nested" in name.lower():
        raise UsageError(
            f"{where}: of a nested model, which is a giant and a metric one; give the checkpoint of one model "
            "(DA3-SMALL, -BASE, -LARGE, DA3MONO-LARGE, DA3METRIC-LARGE)"
        )
    net = data.get("net")
    width = net.get("embed_dim") if isinstance(net, Mapping) else None
    if "giant" in name.lower() or width == _GIANT or (isinstance(net, Mapping) and net.get("name") == "vitg"):
        raise UsageError(f"{where}: of the giant model, which is not implemented; give small, base or large")
    refuse_others(data, "depth_anything_3", where)
