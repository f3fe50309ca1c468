"""What the field has at points, from the planes. Source: Boss et al. 2024, "Stable Fast 3D"."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gen3dexport.models.sf3d.host import parts
from gen3dexport.models.sf3d.networks.triplane import PLANES
from gen3dexport.networks.half_precision import HalfBlocks


class Decoder(nn.Module):
    """The heads by their released names: features [N, C] of points -> raw numbers of a head."""

    def __init__(self, config: parts.Decoder, heads: Sequence[str] | None = None) -> None:
        """`heads`: those wanted, in order; all of the configuration when None."""
        super().__init__()
        names = [head.name for head in config.heads] if heads is None else heads
        self.heads = nn.ModuleDict({name: _head(config, config.head(name)) for name in names})


def _head(config: parts.Decoder, head: parts.Head) -> nn.Module:
    widths = [config.in_channels, *[config.n_neurons] * head.n_hidden_layers, head.out_channels]
    layers: list[nn.Module] = []
    for i, width in enumerate(widths[1:]):
        layers += [nn.Linear(widths[i], width), nn.SiLU()]
    return nn.Sequential(*layers[:-1])


class Query(HalfBlocks):
    """Raw numbers [1, N, O] of some heads at points [1, N, 3] of planes, given as rows.

    Planes are read bilinearly, the outermost pixels' centres on the cube's faces; beyond the pixel after them the field
    is zero.
    """

    halved = "heads"

    def __init__(self, decoder: Decoder, heads: Sequence[str], radius: float, edge: int) -> None:
        """`radius` is half the edge of the cube that planes of `edge` pixels fill."""
        super().__init__()
        self.heads = nn.ModuleDict({name: decoder.heads[name] for name in heads})
        self.radius, self.edge = radius, edge
        self.register_buffer("first_rows", torch.arange(PLANES) * (edge + 2) ** 2)

    def features(self, planes: Tensor, points: Tensor) -> Tensor:
        """What the three planes have at each point: [N, 3 D]."""
        # In pixels; a point further out than a pixel moves to where all four pixels around it are zero.
        place = ((points + self.radius) * ((self.edge - 1) / (2 * self.radius))).clamp(-1, self.edge)
        x, y, z = place[0].unbind(-1)
        column, row = torch.stack([x, x, y], -1), torch.stack([y, z, z], -1)  # [N, 3]: planes xy, xz, yz
        left, top = (pixel.floor().clamp(max=self.edge - 1) for pixel in (column, row))
        right, below = (column - left)[..., None], (row - top)[..., None]
        count = self.edge + 2
        index = ((top + 1) * count + (left + 1)).long() + self.get_buffer("first_rows")
        rows = planes[0].flatten(0, 1)
        corners = [rows.index_select(0, (index + step).flatten()) for step in (0, 1, count, count + 1)]
        a, b, c, d = (part.unflatten(0, (-1, PLANES)) for part in corners)  # type: ignore[no-untyped-call]
        above, under = a * (1 - right) + b * right, c * (1 - right) + d * right
        return (above * (1 - below) + under * below).flatten(1)  # type: ignore[no-any-return]

    def forward(self, planes: Tensor, points: Tensor) -> tuple[Tensor, ...]:
        features = self.features(planes, points).to(self.block_dtype)
        return tuple(head(features).float()[None] for head in self.heads.values())
