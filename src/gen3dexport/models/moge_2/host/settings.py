"""What the host needs to run MoGe-2, and what a recipe may set of it. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from gen3dexport.documents.record import Record
from gen3dexport.errors import UsageError
from gen3dexport.models.moge_2.host.model import CONFIG, Model, read_model
from gen3dexport.models.weights import WeightFiles

COMPONENT = "geometry"
"""Name of the one network."""

Fit = Literal["letterbox", "stretch"]
"""What happens to a photograph whose published size is not the program's: it keeps its shape between bars, or not."""

Pixels = Annotated[int, Field(ge=1, le=8192)]


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

    size: Pixels | tuple[Pixels, Pixels] | None = None
    fit: Fit | None = None
    field_of_view: float | None = Field(default=None, gt=0, lt=180)
    grid: int | None = Field(default=None, ge=2, le=8192)
    cut: float | None = Field(default=None, gt=0, le=10)


class Settings(Record):
    """Everything the host needs to run this pipeline; stored in the manifest. See `Knobs` for the other fields.

    Attributes:
        model: the network's configuration.
        size: height and width of the picture that the network takes.
    """

    RUN_FIELDS: ClassVar[Mapping[str, str]] = {name: name for name in ("field_of_view", "grid", "cut", "fit")}

    model: Model
    size: tuple[Pixels, Pixels]
    fit: Fit = "letterbox"
    field_of_view: float | None = Field(default=None, gt=0, lt=180)
    grid: int = Field(default=512, ge=2, le=8192)
    cut: float = Field(default=0.05, gt=0, le=10)
    asset_kinds: tuple[str, ...] = ("depth_map", "mesh", "points")
    left_out: tuple[str, ...] = ()

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
    patch = model.vit.patch_size
    given = knobs.model_dump(exclude_none=True)
    size = given.pop("size", model.vit.img_size)
    size = size if isinstance(size, tuple) else (size, size)
    for edge in size:
        if edge % patch:
            near = [str(n) for n in (edge // patch * patch, edge // patch * patch + patch) if n]
            raise UsageError(f"knobs.size: {edge} is no multiple of the patch ({patch}); use {' or '.join(near)}")
    return Settings(model=model, size=size, **given)
