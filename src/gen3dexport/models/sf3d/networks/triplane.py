"""The three feature planes: learned tokens, the upsampling of what they become, and both around the backbone.

Source: Boss et al. 2024, "Stable Fast 3D"; Shi et al. 2016 (pixel shuffle).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.models.sf3d.host import parts
from gen3dexport.models.sf3d.networks.backbone import TwoStream
from gen3dexport.networks.half_precision import HalfBlocks

PLANES = 3


class TriplaneTokenizer(nn.Module):
    """The learned tokens."""

    def __init__(self, config: parts.Tokenizer) -> None:
        super().__init__()
        self.edge = config.plane_size
        shape = (PLANES, config.num_channels, self.edge, self.edge)
        self.embeddings = nn.Parameter(torch.randn(shape) / config.num_channels**0.5)

    def tokens(self, batch: int) -> Tensor:
        """The learned tokens [B, C, 3 * P * P], by plane, row and column."""
        return self.embeddings.transpose(0, 1).flatten(1).expand(batch, -1, -1)

    def planes(self, tokens: Tensor) -> Tensor:
        """Planes [B, 3, C, P, P] of tokens [B, C, 3 * P * P]."""
        return tokens.unflatten(2, (PLANES, self.edge, self.edge)).transpose(1, 2)  # type: ignore[no-any-return, no-untyped-call]


class Upsampler(nn.Module):
    """Planes [B, 3, C, P, P] -> [B, 3, D, S P, S P], each by itself: convolutions, then channels become pixels."""

    def __init__(self, config: parts.PostProcessor) -> None:
        super().__init__()
        self.factor, width = config.scale_factor, config.in_channels
        layers: list[nn.Module] = []
        for _ in range(config.conv_layers - 1):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        layers.append(nn.Conv2d(width, config.out_channels * self.factor**2, 3, padding=1))
        self.upsample = nn.Sequential(*layers)

    def forward(self, planes: Tensor) -> Tensor:
        made = F.pixel_shuffle(self.upsample(planes.flatten(0, 1)), self.factor)
        return made.unflatten(0, (-1, PLANES))  # type: ignore[no-any-return, no-untyped-call]


class TriplaneBackbone(HalfBlocks):
    """Rows of the field's planes (see `rows_of`) of a picture's tokens [B, I, W]."""

    stack = "streams.main_blocks"
    halved = "streams"

    def __init__(self, tokenizer: TriplaneTokenizer, streams: TwoStream, upsampler: Upsampler) -> None:
        super().__init__()
        self.tokenizer, self.streams, self.upsampler = tokenizer, streams, upsampler

    def before(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Both streams as one and the picture's tokens, in the blocks' dtype."""
        x, image, _ = self.streams.before(self.tokenizer.tokens(len(features)), features)
        return x, image

    def after(self, x: Tensor) -> Tensor:
        """Rows of the planes of the last tokens."""
        tokens = self.streams.after(x, x, self.tokenizer.tokens(len(x)))
        return rows_of(self.upsampler(self.tokenizer.planes(tokens)))

    def forward(self, features: Tensor) -> Tensor:
        x, image = self.before(features)
        for block in self.streams.main_blocks:
            x = block(x, image)
        return self.after(x)


def rows_of(planes: Tensor) -> Tensor:
    """What lookups read: planes [B, 3, D, P, P] -> a row of D channels for each pixel, [B, 3, (P + 2)^2, D], with a
    ring of zeros around every plane."""
    return F.pad(planes.permute(0, 1, 3, 4, 2), (0, 0, 1, 1, 1, 1)).flatten(2, 3)


def planes_of(rows: Tensor) -> Tensor:
    """The planes [B, 3, D, P, P] of rows."""
    edge = round(rows.shape[2] ** 0.5)
    inner = rows.unflatten(2, (edge, edge))[:, :, 1:-1, 1:-1]  # type: ignore[no-untyped-call]
    return inner.permute(0, 1, 4, 2, 3)  # type: ignore[no-any-return]
