"""A field of density and colour over all of space, and fields of density alone; tensors by nerfstudio's names.

Source: Tancik et al. 2023, "Nerfstudio" (nerfacto); Barron et al. 2022, "Mip-NeRF 360" (the contraction).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gen3dexport.models.instant_ngp_nerf.host.model import FieldModel, Grid, Model, Proposal
from gen3dexport.models.instant_ngp_nerf.networks.harmonics import MOST, field_harmonics
from gen3dexport.models.instant_ngp_nerf.networks.hash_encoding import HashEncoding

LARGEST = 80.0
"""Logarithm of a density beyond which it is cut: a float32 ends at 88."""


class Layers(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        last: Tensor = self.layers[-1](x)
        return last


class Encoded(nn.Module):
    """A hash grid and the layers after it, under the names that the field has them."""

    def __init__(self, encoding: HashEncoding, layers: Layers) -> None:
        super().__init__()
        self.model = nn.Sequential(encoding, layers)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.model(x)
        return made


def contracted(positions: Tensor) -> tuple[Tensor, Tensor]:
    """All of space in the unit cube: places [..., 3] in [0, 1], and 1 [..., 1] where a place is inside, else 0.

    The cube [-1, 1]^3 fills the middle half; what is beyond comes nearer and nearer to the faces. A place on a face is
    not inside, and put at 0.
    """
    reach = positions.abs().amax(-1, keepdim=True).clamp(min=1)  # in the L-infinity norm
    places = ((2 - 1 / reach) * (positions / reach) + 2) / 4
    inside = ((places > 0) & (places < 1)).all(-1, keepdim=True).to(places.dtype)
    return places * inside, inside


def _encoding(grid: Grid) -> HashEncoding:
    return HashEncoding(grid.num_levels, grid.base_res, grid.max_res, grid.log2_hashmap_size, grid.features_per_level)


class Described(nn.Module):
    """The numbers that a file has of a grid beside its table; nothing is computed with them."""

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.register_buffer("aabb", torch.tensor([[-1.0] * 3, [1.0] * 3]))
        for name in ("max_res", "num_levels", "log2_hashmap_size"):
            self.register_buffer(name, torch.tensor(getattr(grid, name)))


class Appearances(nn.Module):
    """Numbers of every trained picture's appearance, under the name that the field has them."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(count, width)


class Field(Described):
    """Density and colour of places; see `forward`."""

    def __init__(self, model: Model) -> None:
        config: FieldModel = model.field
        super().__init__(config)
        self.factor, self.averaged = model.average_init_density, model.use_average_appearance_embedding
        self.appearance = config.appearance_embedding_dim
        if self.appearance:
            self.embedding_appearance = Appearances(model.num_images, self.appearance)
        encoding, geometry = _encoding(config), config.geo_feat_dim
        hidden = [config.hidden_dim] * (config.num_layers - 1)
        self.mlp_base = Encoded(encoding, Layers([encoding.width, *hidden, 1 + geometry]))
        hidden = [config.hidden_dim_color] * (config.num_layers_color - 1)
        self.mlp_head = Layers([MOST**2 + geometry + self.appearance, *hidden, 3])

    def geometry(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Density [..., 1] and the numbers [..., G] that the colour is made of, at positions [..., 3]."""
        places, inside = contracted(positions)
        found = self.mlp_base(places)
        return _density(found[..., :1], inside, self.factor), found[..., 1:]

    def appearances(self) -> Tensor:
        """The appearance [A] that pictures are made in: the mean of those trained, or zeros."""
        table = self.embedding_appearance.embedding.weight
        return table.mean(0) if self.averaged else torch.zeros_like(table[0])

    def forward(self, positions: Tensor, directions: Tensor, appearance: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Density [..., 1] and colour [..., 3] in [0, 1], at positions seen along unit directions, both [..., 3].

        Args:
            appearance: [..., A] of each place; without it, `appearances`.
        """
        density, geometry = self.geometry(positions)
        parts = [field_harmonics(directions, MOST), geometry]
        if self.appearance:
            own = self.appearances() if appearance is None else appearance
            parts.append(own.expand(*positions.shape[:-1], self.appearance))
        return density, self.mlp_head(torch.cat(parts, -1)).sigmoid()


class ProposalField(Described):
    """Density [..., 1] at positions [..., 3]; a file has its table under two names."""

    def __init__(self, config: Proposal, factor: float) -> None:
        super().__init__(config)
        self.factor = factor
        self.encoding = _encoding(config)
        hidden = [config.hidden_dim] * (config.num_layers - 1)
        self.mlp_base = nn.Sequential(self.encoding, Layers([self.encoding.width, *hidden, 1]))

    def forward(self, positions: Tensor) -> Tensor:
        places, inside = contracted(positions)
        return _density(self.mlp_base(places), inside, self.factor)


def _density(raw: Tensor, inside: Tensor, factor: float) -> Tensor:
    return factor * raw.clamp(max=LARGEST).exp() * inside


class Nerf(nn.Module):
    """All networks of a scene, with the released tensors' names."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.field = Field(model)
        self.proposal_networks = nn.ModuleList(
            ProposalField(one, model.average_init_density) for one in model.proposal_net_args_list
        )
