"""What the host needs to run Depth Anything V2, and what a recipe may set of it. No torch."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from gen3dexport.documents.record import Record
from gen3dexport.errors import UsageError
from gen3dexport.models.depth_anything_v2.host.model import CONFIG, Model, read_model
from gen3dexport.models.photograph_knobs import CUT, GRID, RUN_FIELDS, Cut, Edges, FieldOfView, Fit, Grid, Pixels, given
from gen3dexport.models.weights import WeightFiles

COMPONENT, INPUT, OUTPUT = "depth", "image", "depth"
"""Names of the one network, of its input and of its output."""

Rules = Literal["original", "hf"]
"""Whose rules hold for the photograph's resizing and for the position table: the original repository's, or those of the
transformers library."""
Upsampling = Literal["resize", "matrices"]
"""How the head resizes maps: by torch's operator, or by products with constant matrices. The result is the same."""

_HF = "model"  # stem of the -hf files
_HEADER = 8  # bytes of the length before a safetensors file's header
_LARGEST_HEADER = 2**24
_METRIC = {"hypersim": 20.0, "vkitti": 80.0}  # what the original release's files of metric models are named after


class Knobs(Record):
    """What a recipe may set; what it does not set is as released.

    Attributes:
        size: of the picture that the network takes, in pixels, as one edge or [height, width]; multiples of the patch.
        rules: see `Rules`; those that the weights' layout comes with by default.
        fit: see `Fit`.
        upsampling: see `Upsampling`.
        field_of_view: degrees from the left to the right edge of the photographs; with it there are points and a mesh.
        grid: pixels along the longer edge of the grid that points and mesh are made of, at most.
        cut: the mesh has no triangle over a step in depth of more than this share.
    """

    WEIGHTS: ClassVar[WeightFiles] = WeightFiles(
        CONFIG, (CONFIG, "model*.safetensors*", "depth_anything_v2_*.pth"), "*.*[sh]"
    )  # the pattern: .safetensors and .pth, not .json

    size: Pixels | Edges | None = None
    rules: Rules | None = None
    fit: Fit | None = None
    upsampling: Upsampling | None = None
    field_of_view: FieldOfView | None = None
    grid: Grid | None = None
    cut: Cut | None = None


class Settings(Record):
    """Everything the host needs to run this pipeline; stored in the manifest. See `Knobs` for the other fields.

    Attributes:
        model: the network's configuration.
        checkpoint: stem of the file with the weights.
        size: height and width of the picture that the network takes.
    """

    RUN_FIELDS: ClassVar[Mapping[str, str]] = RUN_FIELDS

    model: Model
    size: Edges
    checkpoint: str = _HF
    rules: Rules = "hf"
    fit: Fit = "letterbox"
    upsampling: Upsampling = "resize"
    field_of_view: FieldOfView | None = None
    grid: Grid = GRID
    cut: Cut = CUT
    left_out: tuple[str, ...] = ()

    @property
    def asset_kinds(self) -> tuple[str, ...]:
        """The depth map; with a field of view, a mesh and points, too."""
        return ("depth_map",) if self.field_of_view is None else ("depth_map", "mesh", "points")


def read_settings(folder: Path, knobs: Knobs, random_weights: bool) -> Settings:
    """Settings of a checkpoint folder with the recipe's knobs on top.

    Raises:
        UsageError: when the configuration is missing or not one of this family, there are several checkpoints in the
            folder or one of another variant, or the size is not a multiple of the patch.
    """
    model = read_model(folder)
    found = None if random_weights else weights_file(folder)
    if found is not None:
        _check_variant(found, model)
    known = given(knobs, model.image_size, model.patch_size)
    rules: Rules = "original" if found is not None and _original(found) else "hf"
    return Settings(**{"rules": rules, **known}, model=model, checkpoint=found.stem if found else _HF)


def weights_file(folder: Path) -> Path | None:
    """The file with the weights in a checkpoint folder: `model.safetensors`, or the only .safetensors or .pth there.

    Raises:
        UsageError: when there are several.
    """
    if any(folder.glob(f"{_HF}.safetensors*")):  # the file, or the index of its shards
        return folder / f"{_HF}.safetensors"
    stems: dict[str, Path] = {}
    for path in sorted(folder.glob("*.pth")) + sorted(folder.glob("*.safetensors")):  # of two alike the latter is read
        stems[path.stem] = path
    if len(stems) > 1:
        names = ", ".join(path.name for path in stems.values())
        raise UsageError(f"{folder}: has several checkpoints ({names}); keep the one that is meant, or name it {_HF}")
    return next(iter(stems.values()), None)


def _check_variant(path: Path, model: Model) -> None:
    """Refuse what the name of an original file says and its tensors do not: variants share all names and shapes."""
    name = path.stem.lower()
    if "depth_anything_vit" in name:
        raise UsageError(
            f"{path}: a file of Depth Anything V1, whose tensors have the same names; give one of "
            "Depth Anything V2 (depth_anything_v2_vits, ...)"
        )
    said = "metric" if "metric" in name else "relative"
    if name.startswith("depth_anything_v2") and said != model.depth_estimation_type:
        raise UsageError(
            f"{path}: a file of a {said} model, and {path.with_name(CONFIG)} is of a {model.depth_estimation_type} "
            "one, whose tensors have the same names; take the configuration that belongs to the file"
        )
    for data, most in _METRIC.items():
        if model.max_depth is not None and data in name and model.max_depth != most:
            raise UsageError(
                f"{path}: {data} models end at {most:g} m, and {path.with_name(CONFIG)} says {model.max_depth:g} m; "
                f"set max_depth to {most:g} there"
            )


def _original(path: Path) -> bool:
    """Whether a file has the original release's layout, as far as its header tells; a .pth has."""
    if path.suffix != ".safetensors":
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(_HEADER)
        length = struct.unpack("<Q", start)[0] if len(start) == _HEADER else 0
        if not 0 < length <= _LARGEST_HEADER:
            return False  # damaged, which loading tells
        try:
            names = json.loads(file.read(length))
        except ValueError:
            return False
    return isinstance(names, dict) and any("depth_head." in name for name in names)
