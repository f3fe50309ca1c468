"""What the host needs to run MoGe-2, and what a recipe may set of it. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from gen3dexport.documents.record import Record
from gen3dexport.models.moge_2.host.model import CONFIG, Model, read_model
from gen3dexport.models.photograph_knobs import CUT, GRID, RUN_FIELDS, Cut, Edges, FieldOfView, Fit, Grid, Pixels, given
from gen3dexport.models.weights import WeightFiles

COMPONENT = "geometry"
"""Name of the one network."""


class Knobs(Record):
    """What a recipe may set; what it does not set is as released.

    Attributes:
        size: of the picture that the network takes, in pixels, as one edge or [height, width]; multiples of the patch.
        fit: see `Fit`.
        field_of_view: degrees from the left to the right edge of the photographs, where known; else it is recovered.
        grid: pixels along the longer edge of the grid that points and mesh are made of, at most.
        cut: the mesh has no triangle over a step in depth of more than this share.
    """

    WEIGHTS: ClassVar[WeightFiles] = WeightFiles(CONFIG, (CONFIG, "model.safetensors", "model.pt"), "model.*")

    size: Pixels | Edges | None = None
    fit: Fit | None = None
    field_of_view: FieldOfView | None = None
    grid: Grid | None = None
    cut: Cut | None = None


class Settings(Record):
    """Everything the host needs to run this pipeline; stored in the manifest. See `Knobs` for the other fields.

    Attributes:
        model: the network's configuration.
        size: height and width of the picture that the network takes.
    """

    RUN_FIELDS: ClassVar[Mapping[str, str]] = RUN_FIELDS

    model: Model
    size: Edges
    fit: Fit = "letterbox"
    field_of_view: FieldOfView | None = None
    grid: Grid = GRID
    cut: Cut = CUT
    asset_kinds: tuple[str, ...] = ("depth_map", "mesh", "points")
    left_out: tuple[str, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what the network returns."""
        maps = tuple(name.removesuffix("_head") for name in self.model.heads)
        return (*maps, *(("metric_scale",) if self.model.scale_head is not None else ()))

    @property
    def patches(self) -> tuple[int, int]:
        """Patches of the picture, down and across."""
        patch = self.model.vit.patch_size
        return self.size[0] // patch, self.size[1] // patch


def read_settings(folder: Path, knobs: Knobs, random_weights: bool) -> Settings:
    """Settings of a checkpoint folder with the recipe's knobs on top.

    Raises:
        UsageError: when the configuration is missing or not one of this family, or the size is not a multiple of the
            patch.
    """
    model = read_model(folder)
    return Settings(model=model, **given(knobs, model.vit.img_size, model.vit.patch_size))
