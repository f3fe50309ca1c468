"""Point-E's distance field of a cloud. Released names.

`CloudEncoder` and `Query` are what is built of the released tensors: what a cloud needs once, and what a point needs.
Source: Nichol et al. 2022, "Point-E", section 4.4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gen3dexport.models.point_e.host.model import Sdf
from gen3dexport.models.point_e.networks.layers import Block, CrossBlock, Stack
from gen3dexport.networks.half_precision import FloatNorm, HalfBlocks
from gen3dexport.networks.packed_heads import attend, by_head


class SdfModel(nn.Module):
    """The released tensors; it has no forward of its own."""

    def __init__(self, config: Sdf) -> None:
        super().__init__()
        width = config.width
        self.encoder_input_proj, self.decoder_input_proj = nn.Linear(3, width), nn.Linear(3, width)
        self.encoder = Stack(Block(width, config.encoder_heads) for _ in range(config.encoder_layers))
        self.decoder = Stack(CrossBlock(width, config.decoder_heads) for _ in range(config.decoder_layers))
        self.ln_post, self.output_proj = FloatNorm(width), nn.Linear(width, 1)


class CloudEncoder(HalfBlocks):
    """Keys and values [B, 2 layers, H, N, d] of every layer of the decoder (k, v, k, v, ...) of clouds [B, N, 3]."""

    stack = "blocks"

    def __init__(self, released: SdfModel) -> None:
        """Takes the parts of `released` that it needs."""
        super().__init__()
        self.input_proj, self.blocks = released.encoder_input_proj, released.encoder.resblocks
        layers = [layer for layer in released.decoder.resblocks if isinstance(layer, CrossBlock)]
        self.heads = [layer.attn.heads for layer in layers]
        self.norms = nn.ModuleList(layer.ln_2 for layer in layers)
        self.layers = nn.ModuleList(layer.attn.c_kv for layer in layers)

    def before(self, cloud: Tensor) -> tuple[Tensor]:
        """What the first block takes, in the blocks' dtype."""
        return (self.input_proj(cloud).to(self.block_dtype),)

    def after(self, x: Tensor) -> Tensor:
        """Keys and values of the last rows."""
        data = x.float()
        made: list[Tensor] = []
        for norm, layer, heads in zip(self.norms, self.layers, self.heads, strict=True):
            made.extend(by_head(layer(norm(data)), heads).chunk(2, dim=-1))
        return torch.stack(made, 1)

    def forward(self, cloud: Tensor) -> Tensor:
        (x,) = self.before(cloud)
        for block in self.blocks:
            x = block(x)
        return self.after(x)


class PointBlock(nn.Module):
    """A layer of the decoder without what it needs of the cloud once."""

    def __init__(self, block: CrossBlock) -> None:
        """Takes parts of `block`."""
        super().__init__()
        self.attn = nn.ModuleDict({"c_q": block.attn.c_q, "c_proj": block.attn.c_proj})
        self.heads, self.ln_1, self.ln_3, self.mlp = block.attn.heads, block.ln_1, block.ln_3, block.mlp

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        queries = by_head(self.attn["c_q"](self.ln_1(x)), self.heads)
        x = x + self.attn["c_proj"](attend(queries, keys, values))
        return x + self.mlp(self.ln_3(x))  # type: ignore[no-any-return]


class Query(HalfBlocks):
    """The field [B, P, 1] at points [B, P, 3] under keys and values [B, 2 layers, H, N, d] of a cloud."""

    def __init__(self, released: SdfModel) -> None:
        """Takes the parts of `released` that it needs."""
        super().__init__()
        layers = (layer for layer in released.decoder.resblocks if isinstance(layer, CrossBlock))
        self.input_proj, self.blocks = released.decoder_input_proj, nn.ModuleList(PointBlock(layer) for layer in layers)
        self.ln_post, self.output_proj = released.ln_post, released.output_proj

    def forward(self, context: Tensor, points: Tensor) -> Tensor:
        x, parts = self.input_proj(points).to(self.block_dtype), context.to(self.block_dtype).unbind(1)
        for index, block in enumerate(self.blocks):
            x = block(x, parts[2 * index], parts[2 * index + 1])
        return self.output_proj(self.ln_post(x.float()))  # type: ignore[no-any-return]
