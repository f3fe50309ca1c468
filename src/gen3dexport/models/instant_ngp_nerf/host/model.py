"""A radiance field's configuration, in the names of nerfstudio's nerfacto. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from gen3dexport.documents.record import Record
from gen3dexport.models.configuration import checked, read_configuration
from gen3dexport.models.whose_configuration import refuse_others

CONFIG = "config.json"
"""The file that every checkpoint folder has."""
_WHAT = "a configuration of nerfacto"

Count = Annotated[int, Field(ge=1, le=2**12)]
Width = Annotated[int, Field(ge=1, le=2**12)]
Cells = Annotated[int, Field(ge=1, le=2**15)]
Levels = Annotated[int, Field(ge=1, le=32)]
Log2 = Annotated[int, Field(ge=1, le=24)]
Length = Annotated[float, Field(gt=0, le=1e9)]


class Grid(Record):
    """A hash grid.

    Attributes:
        base_res, max_res: cells along an edge of the coarsest and of the finest level.
        log2_hashmap_size: logarithm of the rows of a level.
    """

    num_levels: Levels
    base_res: Cells = 16
    max_res: Cells
    log2_hashmap_size: Log2
    features_per_level: Annotated[int, Field(ge=1, le=16)] = 2

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.max_res < self.base_res:
            raise ValueError(f"max_res {self.max_res} is less than base_res {self.base_res}")
        return self


class FieldModel(Grid):
    """The field of density and colour.

    Attributes:
        num_layers, num_layers_color: linear layers of either network; hidden_dim, hidden_dim_color: their widths.
        geo_feat_dim: numbers that the first network hands the second one beside the density.
        appearance_embedding_dim: of a picture's own numbers, 0 for none.
    """

    num_layers: Annotated[int, Field(ge=2, le=16)] = 2
    hidden_dim: Width = 64
    num_layers_color: Annotated[int, Field(ge=2, le=16)] = 3
    hidden_dim_color: Width = 64
    geo_feat_dim: Annotated[int, Field(ge=0, le=2**10)] = 15
    appearance_embedding_dim: Annotated[int, Field(ge=0, le=2**10)] = 32


class Proposal(Grid):
    """A field of density alone, that says where samples are worth taking.

    Attributes:
        use_linear: a network without a hidden layer is not here.
    """

    num_layers: Annotated[int, Field(ge=2, le=16)] = 2
    hidden_dim: Width = 16
    use_linear: Literal[False] = False


class Model(Record):
    """A scene's networks, and how rays are sampled.

    Attributes:
        num_images: pictures that it was trained on, of which each has its appearance.
        num_proposal_samples_per_ray: of each proposal network, in order; num_nerf_samples_per_ray: of the field.
        near_plane, far_plane: distances between which rays are sampled.
        use_average_appearance_embedding: the mean appearance, or zeros.
        background_color: behind what is seen; `last_sample` is the colour of a ray's last sample.
        average_init_density: factor of every density.
    """

    field: FieldModel
    proposal_net_args_list: Annotated[tuple[Proposal, ...], Field(max_length=8)] = ()
    num_images: Annotated[int, Field(ge=1, le=10**6)] = 1
    num_proposal_samples_per_ray: tuple[Count, ...] = ()
    num_nerf_samples_per_ray: Count = 48
    near_plane: Length = 0.05
    far_plane: Length = 1000.0
    use_average_appearance_embedding: bool = True
    background_color: Literal["last_sample", "black", "white"] = "last_sample"
    average_init_density: Length = 1.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        proposals, rounds = len(self.proposal_net_args_list), len(self.num_proposal_samples_per_ray)
        if proposals != rounds:
            raise ValueError(f"num_proposal_samples_per_ray has {rounds} numbers for {proposals} proposal networks")
        if self.near_plane >= self.far_plane:
            raise ValueError(f"near_plane {self.near_plane} is not less than far_plane {self.far_plane}")
        return self


def read_model(folder: Path) -> Model:
    """The model of `folder`/config.json.

    Raises:
        UsageError: when the file is missing, is not such a configuration, or is of a model that is not here.
    """
    path = folder / CONFIG
    remedy = (
        "nerfstudio writes none of this form: copy the one of weights/nerfacto of this package "
        "beside the checkpoint, and set in it what the run's own config.yml changes"
    )
    data = read_configuration(path, _WHAT, remedy)
    refuse_others(data, "instant_ngp_nerf", str(path))
    return parse_model(data, str(path))


def parse_model(data: Mapping[str, Any], where: str) -> Model:
    """The model of a configuration.

    Raises:
        UsageError: as `read_model` does.
    """
    return checked(Model, data, _WHAT, where)
