"""Density and colour at points, from the planes. Source: Tochilkin et al. 2024, "TripoSR"."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gen3dexport.models.triposr.host.model import Decoder
from gen3dexport.models.triposr.networks.triplane import PLANES
from gen3dexport.networks.half_precision import HalfBlocks


class FieldDecoder(nn.Module):
    """Features [..., C] of points -> raw density and raw colour [..., 4]."""

    def __init__(self, config: Decoder) -> None:
        super().__init__()
        widths = [config.in_channels, *[config.n_neurons] * config.n_hidden_layers, 4]
        layers: list[nn.Module] = []
        for i, width in enumerate(widths[1:]):
            layers += [nn.Linear(widths[i], width), nn.SiLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


class Query(HalfBlocks):
    """Raw density [1, N, 1] and raw colour [1, N, 3] at points [1, N, 3] of planes, given as windows.

    Planes are read bilinearly, pixels as areas; outside of the cube they are zero.
    """

    halved = "decoder"

    def __init__(self, decoder: FieldDecoder, radius: float, edge: int) -> None:
        """`radius` is half the edge of the cube that planes of `edge` pixels fill."""
        super().__init__()
        self.decoder, self.radius, self.edge = decoder, radius, edge
        self.register_buffer("first_rows", torch.arange(PLANES) * (edge + 1) ** 2)

    def features(self, planes: Tensor, points: Tensor) -> Tensor:
        """What the three planes have at each point: [N, 3 D]."""
        # In pixels; a point outside of the cube moves to where all four pixels around it are zero.
        place = ((points + self.radius) * (self.edge / (2 * self.radius)) - 0.5).clamp(-1, self.edge)
        x, y, z = place[0].unbind(-1)
        column, row = torch.stack([x, x, y], -1), torch.stack([y, z, z], -1)  # [N, 3]: planes xy, xz, yz
        left, top = (pixel.floor().clamp(max=self.edge - 1) for pixel in (column, row))
        count = self.edge + 1
        index = ((top + 1) * count + (left + 1)).long() + self.get_buffer("first_rows")
        gathered = planes[0].flatten(0, 1).index_select(0, index.flatten())
        corners = gathered.unflatten(0, (-1, PLANES)).unflatten(-1, (4, -1))  # type: ignore[no-untyped-call]
        right, below = (column - left)[..., None], (row - top)[..., None]
        above = corners[:, :, 0] * (1 - right) + corners[:, :, 1] * right
        under = corners[:, :, 2] * (1 - right) + corners[:, :, 3] * right
        return (above * (1 - below) + under * below).flatten(1)  # type: ignore[no-any-return]

    def forward(self, planes: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        made = self.decoder(self.features(planes, points).to(self.block_dtype)).float()[None]
        return made[..., :1], made[..., 1:]
