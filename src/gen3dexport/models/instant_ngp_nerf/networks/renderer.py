"""Whole rays as one network: samples by the proposal networks or by an occupancy grid, the field, and the picture."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gen3dexport.models.instant_ngp_nerf.host.model import Model
from gen3dexport.models.instant_ngp_nerf.networks.field import Nerf, contracted
from gen3dexport.models.instant_ngp_nerf.networks.sampling import collected, distances, resampled, weights_of

Note = Callable[[str, Tensor], None]


def _unnoted(name: str, value: Tensor) -> None:
    pass


class Query(nn.Module):
    """Density [1, N, 1] and colour [1, N, 3] of the field at points [1, N, 3] seen along unit directions [1, N, 3]."""

    def __init__(self, nerf: Nerf) -> None:
        super().__init__()
        self.field = nerf.field

    def forward(self, points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = self.field(points, directions)
        return found


class Renderer(nn.Module):
    """Colour [R, 3], median depth [R, 1] and accumulation [R, 1] of rays.

    Rays are origins and unit directions, both [R, 3]; every ray has as many samples, whatever it meets.
    """

    def __init__(self, nerf: Nerf) -> None:
        super().__init__()
        self.nerf = nerf

    @property
    def model(self) -> Model:
        """What it was made of."""
        return self.nerf.model

    def forward(self, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.steps(origins, directions, _unnoted)[:3]

    def steps(self, origins: Tensor, directions: Tensor, note: Note) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As `forward`, with the expected depth [R, 1]; what is found on the way goes to `note` by name.

        A program has no expected depth: of rays that meet next to nothing it is a quotient of two roundings.
        """
        return self._shown(origins, directions, self._proposed(origins, directions, note), note, None)

    def _proposed(self, origins: Tensor, directions: Tensor, note: Note) -> Tensor:
        """Edges [R, n + 1] in u of the field's bins, by rounds of proposals."""
        model = self.model
        counts = [*model.num_proposal_samples_per_ray, model.num_nerf_samples_per_ray]
        edges = torch.linspace(0, 1, counts[0] + 1).to(origins.device)[None].expand(len(origins), counts[0] + 1)
        for k, (network, count) in enumerate(zip(self.nerf.proposal_networks, counts[1:], strict=True)):
            t = distances(edges, model.near_plane, model.far_plane)
            note(f"bins{k}_starts", t[:, :-1, None])
            note(f"bins{k}_ends", t[:, 1:, None])
            density = network(along(origins, directions, t))[..., 0]
            weights = weights_of(density, t)[0]
            note(f"weights{k}", weights[..., None])
            edges = resampled(weights, edges, count)
        return edges

    def _shown(
        self, origins: Tensor, directions: Tensor, edges: Tensor, note: Note, occupied: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What rays collect in bins; nothing where a bin's middle is not occupied."""
        t = distances(edges, self.model.near_plane, self.model.far_plane)
        positions = along(origins, directions, t)
        density, colors = self.nerf.field(positions, directions[:, None].expand_as(positions))
        if occupied is not None:
            density = density * looked_up(occupied, positions)[..., None]
        weights = weights_of(density[..., 0], t)[0]
        note("starts", t[:, :-1, None])
        note("ends", t[:, 1:, None])
        note("positions", positions)
        note("density", density)
        note("rgb_samples", colors)
        note("weights", weights[..., None])
        return collected(weights, colors, t, self.model.background_color)


class OccupiedRenderer(Renderer):
    """As `Renderer`, with an occupancy grid [G, G, G] of 0 and 1 over the contracted cube in place of proposals.

    Bins of even steps are weighed by their cells, and the field is asked where these are occupied. Light passes what is
    left of other cells' bins.
    """

    def __init__(self, nerf: Nerf, candidates: int) -> None:
        """`candidates`: even steps of a ray that are looked up."""
        super().__init__(nerf)
        self.candidates = candidates

    def forward(  # type: ignore[override]
        self, occupied: Tensor, origins: Tensor, directions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        model = self.model
        edges = torch.linspace(0, 1, self.candidates + 1).to(origins.device)[None]
        edges = edges.expand(len(origins), self.candidates + 1)
        t = distances(edges, model.near_plane, model.far_plane)
        weights = looked_up(occupied, along(origins, directions, t))
        edges = resampled(weights, edges, model.num_nerf_samples_per_ray)
        return self._shown(origins, directions, edges, _unnoted, occupied)[:3]


def along(origins: Tensor, directions: Tensor, edges: Tensor) -> Tensor:
    """Middles [R, n, 3] of bins between distances [R, n + 1]."""
    middles = (edges[:, :-1] + edges[:, 1:]) / 2
    return origins[:, None] + directions[:, None] * middles[..., None]


def looked_up(occupied: Tensor, positions: Tensor) -> Tensor:
    """A grid's values [R, n] at positions [R, n, 3]."""
    count = occupied.shape[0]
    places, inside = contracted(positions)
    cell = (places * count).floor().clamp(0, count - 1).to(torch.int32)
    rows = (cell[..., 0] * count + cell[..., 1]) * count + cell[..., 2]
    found = nn.functional.embedding(rows, occupied.reshape(-1, 1))[..., 0]
    return found * inside[..., 0]
