"""What the host needs to run Depth Anything 3, and what a recipe may set of it. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from gen3dexport.documents.record import Record
from gen3dexport.errors import UsageError
from gen3dexport.models.depth_anything_3.host.model import CONFIG, PATCH, Model, read_model
from gen3dexport.models.photograph_knobs import CUT, GRID, RUN_FIELDS, Cut, Edges, FieldOfView, Fit, Grid, Pixels, given
from gen3dexport.models.weights import WeightFiles

COMPONENT, CHECKPOINT, INPUT = "depth", "model", "image"
"""Names of the one network, of its file and of its input."""
SIZE = 504
"""Pixels along the longer edge of a picture, as published."""

Reference = Literal["saddle_balanced", "saddle_sim_range", "first", "middle"]
"""How the view is chosen that others are seen from, where there are three or more."""
Upsampling = Literal["resize", "matrices"]
"""How the head resizes maps: by torch's operator, or by products with constant matrices. The result is the same."""
Views = Annotated[int, Field(ge=1, le=64)]


class Knobs(Record):
    """What a recipe may set; what it does not set is as released.

    Attributes:
        size: of the picture that the network takes, in pixels, as one edge or [height, width]; multiples of the patch.
        views: how many photographs of a scene one asset is made of.
        reference: see `Reference`.
        fit: see `Fit`.
        upsampling: see `Upsampling`.
        field_of_view: degrees from the left to the right edge of the photographs, where known; a model of any number
            of views gives it, with one of a single view there are points and a mesh only where it is set.
        grid: pixels along the longer edge of the grid that points and mesh are made of, at most.
        cut: the mesh has no triangle over a step in depth of more than this share.
    """

    WEIGHTS: ClassVar[WeightFiles] = WeightFiles(CONFIG, (CONFIG, "model.safetensors"))

    size: Pixels | Edges | None = None
    views: Views | None = None
    reference: Reference | None = None
    fit: Fit | None = None
    upsampling: Upsampling | None = None
    field_of_view: FieldOfView | None = None
    grid: Grid | None = None
    cut: Cut | None = None


class Settings(Record):
    """Everything the host needs to run this pipeline; stored in the manifest. See `Knobs` for the other fields.

    Attributes:
        model: the networks' configuration.
        size: height and width of the picture that the network takes.
    """

    RUN_FIELDS: ClassVar[Mapping[str, str]] = RUN_FIELDS

    model: Model
    size: Edges
    views: Views = 1
    reference: Reference = "saddle_balanced"
    fit: Fit = "letterbox"
    upsampling: Upsampling = "resize"
    field_of_view: FieldOfView | None = None
    grid: Grid = GRID
    cut: Cut = CUT
    left_out: tuple[str, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what the network returns."""
        return ("depth", "depth_conf", "pose") if self.model.any_view else ("depth", "sky")

    @property
    def asset_kinds(self) -> tuple[str, ...]:
        """The depth map (of the first view), with a camera a mesh and points; of several views all maps and points."""
        if self.views > 1:
            return ("depth_map", "sequence", "points")
        has_camera = self.model.any_view or self.field_of_view is not None
        return ("depth_map", "mesh", "points") if has_camera else ("depth_map",)


def read_settings(folder: Path, knobs: Knobs, random_weights: bool) -> Settings:
    """Settings of a checkpoint folder with the recipe's knobs on top.

    Raises:
        UsageError: when the configuration is missing or not one of this family, the size is not a multiple of the
            patch, or a model of one view is to take several.
    """
    model = read_model(folder)
    known: dict[str, Any] = given(knobs, SIZE, PATCH)
    if not model.any_view and known.get("views", 1) > 1:
        raise UsageError(
            f"knobs.views: {known['views']}, and the model of {folder / CONFIG} takes one view; leave views out, or "
            "take DA3-Small, -Base or -Large"
        )
    return Settings(model=model, **known)
