"""The whole network: pictures with rays to rows of Gaussians. Released names."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.models.lgm.host.model import FIELDS, Model
from gen3dexport.models.lgm.networks.unet import Kept, UNet
from gen3dexport.networks.half_precision import HalfBlocks

_SCALE = 0.1
_SHORTEST = 1e-12  # of a rotation, by which it is divided


class Lgm(HalfBlocks):
    """Gaussians [B * T, N, 14] of pictures [B, T * V, 9, H, H], frame after frame; T is 1 for a still object."""

    halved = "unet"

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.views, self.per_pixel = model.num_input_views, model.gaussian_perpixel
        width = FIELDS * self.per_pixel
        self.unet, self.conv = UNet(model), nn.Conv2d(width, width, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.steps(images, lambda name, value: None)

    def steps(self, images: Tensor, kept: Kept) -> Tensor:
        """As `forward`; `kept` gets the steps by name."""
        x = self.unet(images.flatten(0, 1).to(self.block_dtype), kept).float()
        kept("unet", x)
        x = self.conv(x)
        kept("conv", x)
        return self._rows(x)

    def _rows(self, maps: Tensor) -> Tensor:
        """Rows of maps [B T V, 14 G, S, S]: view, row, column, then the Gaussian of a pixel."""
        cells = maps.flatten(2).mT  # [B T V, S S, 14 G]
        rows = cells.reshape(-1, self.views * cells.shape[1] * self.per_pixel, FIELDS)
        position, opacity, scale, rotation, color = rows.split((3, 1, 3, 4, 3), -1)  # type: ignore[no-untyped-call]
        length = rotation.square().sum(-1, keepdim=True).sqrt().clamp(min=_SHORTEST)
        return torch.cat(
            [
                position.clamp(-1, 1),
                torch.sigmoid(opacity),
                _SCALE * F.softplus(scale),
                rotation / length,
                0.5 * torch.tanh(color) + 0.5,
            ],
            -1,
        )
