"""What the host needs to make pictures of a radiance field, and what a recipe may set of it. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from gen3dexport.documents.record import Record
from gen3dexport.errors import UsageError
from gen3dexport.models.instant_ngp_nerf.host.model import CONFIG, Count, Length, Model, read_model
from gen3dexport.models.weights import WeightFiles

FIELD, RENDERER = "field", "renderer"
"""Names of the components: the field at points, and whole rays."""
POINTS, ORIGINS, DIRECTIONS, OCCUPIED = "points", "origins", "directions", "occupied"
DENSITY, COLORS = "density", "colors"
PICTURE = ("rgb", "depth", "accumulation")
"""What the renderer gives of rays."""

_STEM, _STEPS = "model", "step-*.ckpt"

Render = Literal["rays", "march"]
"""What makes pictures: a network of whole rays, or marching on the host through a network of points."""
Views = Annotated[int, Field(ge=1, le=10_000)]
Rows = Annotated[int, Field(ge=1, le=8192)]
Rays = Annotated[int, Field(ge=1, le=2**20)]
Edge = Annotated[int, Field(ge=2, le=256)]
Degrees = Annotated[float, Field(gt=0, lt=180)]
Elevation = Annotated[float, Field(ge=-90, le=90)]
Rate = Annotated[float, Field(gt=0, le=1000)]
Density = Annotated[float, Field(ge=0)]


class Knobs(Record):
    """What a recipe may set; what it does not set is the checkpoint's, or as in `Settings`.

    Attributes:
        render: see `Render`; occupancy: whether empty cells of a grid are passed over.
        grid: cells along an edge of the occupancy grid; least_density: of a cell that is not empty.
        rays: of a call; chunk: points of a call.
        samples: of a ray that the field is asked at; when marching, even steps of a ray.
        proposal_samples: of each proposal network; candidates: even steps that are looked up in the grid instead.
        resolution: rows of a picture; views, elevation, radius, field_of_view, rate: of the orbit, see `Orbit`.
    """

    WEIGHTS: ClassVar[WeightFiles] = WeightFiles(CONFIG, (CONFIG, f"{_STEM}.safetensors"), f"{_STEM}.safetensors")

    render: Render | None = None
    occupancy: bool = False
    grid: Edge | None = None
    least_density: Density | None = None
    rays: Rays | None = None
    chunk: Rays | None = None
    samples: Count | None = None
    proposal_samples: tuple[Count, ...] | None = None
    candidates: Count | None = None
    resolution: Rows | None = None
    views: Views | None = None
    elevation: Elevation | None = None
    radius: Length | None = None
    field_of_view: Degrees | None = None
    rate: Rate | None = None


class Orbit(Record):
    """The camera path where a request has none: once around the origin, which all cameras look at.

    Attributes:
        views: cameras; elevation: degrees above the ground; radius: their distance.
        field_of_view: degrees from a picture's top to its bottom; rate: pictures a second.
    """

    views: Views = 24
    elevation: Elevation = 25.0
    radius: Length = 2.5
    field_of_view: Degrees = 45.0
    rate: Rate = 12.0


class March(Record):
    """Marching on the host.

    Attributes:
        samples: even steps of a ray; occupancy: whether steps in empty cells are passed over.
    """

    samples: Count
    occupancy: bool


class Settings(Record):
    """Everything the host needs to run this pipeline; stored in the manifest. See `Knobs` for the other fields.

    Attributes:
        model: the scene's configuration, with the samples that the recipe sets.
        checkpoint: the file of the scene, without its ending.
        march: where the host marches; masked: whether the network of whole rays takes an occupancy grid.
    """

    RUN_FIELDS: ClassVar[Mapping[str, str]] = {
        "resolution": "resolution",
        "least_density": "least_density",
        "samples": "march.samples",
        "occupancy": "march.occupancy",
        **{name: f"orbit.{name}" for name in Orbit.model_fields},
    }

    model: Model
    checkpoint: str
    march: March | None = None
    masked: bool = False
    grid: Edge = 64
    least_density: Density = 0.1
    rays: Rays = 4096
    chunk: Rays = 16384
    candidates: Count = 256
    resolution: Rows = 256
    orbit: Orbit = Orbit()
    left_out: tuple[str, ...] = ()

    @property
    def asset_kinds(self) -> tuple[str, ...]:
        """The first picture, and all of them."""
        return ("view", "sequence")

    @property
    def component_names(self) -> tuple[str, ...]:
        """In the order that they run."""
        if self.march is not None:
            return (FIELD,)
        return (FIELD, RENDERER) if self.masked else (RENDERER,)

    def inputs(self, name: str) -> dict[str, tuple[int, ...]]:
        """Shapes of what a component takes, by name."""
        if name == FIELD:
            return dict.fromkeys((POINTS, DIRECTIONS), (1, self.chunk, 3))
        own: dict[str, tuple[int, ...]] = {OCCUPIED: 3 * (self.grid,)} if self.masked else {}
        return own | dict.fromkeys((ORIGINS, DIRECTIONS), (self.rays, 3))

    def outputs(self, name: str) -> tuple[str, ...]:
        """Names of what a component gives."""
        return (DENSITY, COLORS) if name == FIELD else PICTURE


def read_settings(folder: Path, knobs: Knobs, random_weights: bool) -> Settings:
    """Settings of a checkpoint folder with the recipe's knobs on top.

    Raises:
        UsageError: when the configuration is missing or not one of this family, or a knob is for what is not asked for.
    """
    model, known = read_model(folder), knobs.model_dump(exclude_none=True)
    marching = known.pop("render", "rays") == "march"
    occupancy = known.pop("occupancy")
    unused = {"rays", "proposal_samples", "candidates"} if marching else set()
    if not occupancy and not marching:
        unused |= {"grid", "least_density", "candidates", "chunk"}
    if occupancy and not marching:
        unused |= {"proposal_samples"}
    if found := sorted(unused & known.keys()):
        way = f"render={'march' if marching else 'rays'} and occupancy={str(occupancy).lower()}"
        raise UsageError(f"knobs.{found[0]}: nothing reads it with {way}; leave it out")
    samples = known.pop("samples", model.num_nerf_samples_per_ray)
    proposals = tuple(known.pop("proposal_samples", model.num_proposal_samples_per_ray))
    if len(proposals) != len(model.proposal_net_args_list):
        raise UsageError(
            f"knobs.proposal_samples: {len(proposals)} numbers, and the model of {folder / CONFIG} has "
            f"{len(model.proposal_net_args_list)} proposal networks; give one for each"
        )
    sizes = {"num_nerf_samples_per_ray": samples, "num_proposal_samples_per_ray": proposals}
    orbit = Orbit(**{name: known.pop(name) for name in Orbit.model_fields if name in known})
    return Settings(
        model=model.model_copy(update=sizes),
        checkpoint=_checkpoint(folder),
        march=March(samples=samples, occupancy=occupancy) if marching else None,
        masked=occupancy and not marching,
        orbit=orbit,
        **known,
    )


def _checkpoint(folder: Path) -> str:
    """The stem of the scene's file: `model`, else the last one that nerfstudio wrote."""
    written = sorted(folder.glob(_STEPS))
    here = [*folder.glob(f"{_STEM}.*"), *folder.glob(f"{_STEM}-*-of-*")]
    return written[-1].stem if written and not here else _STEM
