"""Three feature planes: their learned tokens, their upsampling, and the backbone that makes them of a picture's tokens.

Source: Tochilkin et al. 2024, "TripoSR", after Hong et al. 2023, "LRM".
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.models.triposr.host.model import PostProcessor, Tokenizer
from gen3dexport.models.triposr.networks.transformer import Transformer, enter, leave
from gen3dexport.networks.half_precision import HalfBlocks

PLANES = 3


class TriplaneTokenizer(nn.Module):
    """The learned tokens, and planes of tokens."""

    def __init__(self, config: Tokenizer) -> None:
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

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return self.tokens(len(tokens)), self.planes(tokens)


class Upsampler(nn.Module):
    """Planes [B, 3, C, P, P] -> [B, 3, D, 2P, 2P], each by itself."""

    def __init__(self, config: PostProcessor) -> None:
        super().__init__()
        self.upsample = nn.ConvTranspose2d(config.in_channels, config.out_channels, kernel_size=2, stride=2)

    def forward(self, planes: Tensor) -> Tensor:
        made = self.upsample(planes.flatten(0, 1))
        return made.unflatten(0, (-1, PLANES))  # type: ignore[no-any-return]


class TriplaneBackbone(HalfBlocks):
    """Windows of the field's planes (see `windows`) of a picture's tokens [B, L, W]."""

    stack = "blocks"

    def __init__(self, tokenizer: TriplaneTokenizer, transformer: Transformer, upsampler: Upsampler) -> None:
        """Takes the parts of its arguments."""
        super().__init__()
        self.tokenizer = tokenizer
        self.norm, self.proj_in, self.proj_out = transformer.norm, transformer.proj_in, transformer.proj_out
        self.blocks = transformer.transformer_blocks
        self.upsampler = upsampler

    def before(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of the learned tokens [B, T, C] and the context [B, L, W], in the blocks' dtype."""
        tokens = self.tokenizer.tokens(len(features))
        return enter(self, tokens).to(self.block_dtype), features.to(self.block_dtype)

    def after(self, x: Tensor) -> Tensor:
        """Windows of the planes of the last rows."""
        tokens = leave(self, x, self.tokenizer.tokens(len(x)))
        return windows(self.upsampler(self.tokenizer.planes(tokens)))

    def forward(self, features: Tensor) -> Tensor:
        x, context = self.before(features)
        for block in self.blocks:
            x = block(x, context)
        return self.after(x)


def windows(planes: Tensor) -> Tensor:
    """What bilinear lookups read, a row for each: planes [B, 3, D, P, P] -> [B, 3, (P + 1)^2, 4 D].

    Row (i, j) has the four pixels around the corner between rows i - 1 and i and columns j - 1 and j: (i-1, j-1),
    (i-1, j), (i, j-1), (i, j), each with its D channels; pixels outside of the plane are zero. So one lookup gathers
    one row instead of four.
    """
    wide = F.pad(planes.permute(0, 1, 3, 4, 2), (0, 0, 1, 1, 1, 1))
    low, high = slice(None, -1), slice(1, None)
    parts = [wide[:, :, i, j] for i in (low, high) for j in (low, high)]
    return torch.cat(parts, -1).flatten(2, 3)


def planes_of(rows: Tensor) -> Tensor:
    """The planes [B, 3, D, P, P] of windows."""
    edge = round(rows.shape[2] ** 0.5)
    last = rows.unflatten(2, (edge, edge))[:, :, :-1, :-1, -(rows.shape[3] // 4) :]  # type: ignore[no-untyped-call]
    return last.permute(0, 1, 4, 2, 3)  # type: ignore[no-any-return]
