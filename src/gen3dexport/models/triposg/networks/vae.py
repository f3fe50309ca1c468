"""TripoSG's autoencoder of shapes: a set of latent vectors, and whether a point lies inside. Released names.

`LatentDecoder` and `Query` are what is built of the released parts: the part of the decoder that a set of latents needs
once, and that of a point. Source: Li et al. 2025, "TripoSG", after Zhang et al. 2023, "3DShape2VecSet".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gen3dexport.models.triposg.host.model import Vae
from gen3dexport.models.triposg.networks.layers import EPS, CrossBlock, SelfBlock
from gen3dexport.networks.half_precision import FloatNorm, HalfBlocks
from gen3dexport.networks.packed_heads import attend, by_head
from gen3dexport.networks.point_features import frequencies, point_features


class Encoder(nn.Module):
    """Hidden rows [B, Q, W] of a surface: of points given as features [B, Q, F], among many more [B, K, F].

    Making assets needs none of it; released files have its tensors.
    """

    def __init__(self, features: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.proj_in = nn.Linear(features, width)
        rest = [SelfBlock(width, heads) for _ in range(layers)]
        self.blocks = nn.ModuleList([CrossBlock(width, heads), *rest])
        self.norm_out = FloatNorm(width, eps=EPS)

    def forward(self, few: Tensor, many: Tensor) -> Tensor:
        cross, *rest = self.blocks
        x = cross(self.proj_in(few), self.proj_in(many))
        for block in rest:
            x = block(x)
        return self.norm_out(x)  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """The released tensors of the decoder; it has no forward of its own."""

    def __init__(self, config: Vae) -> None:
        super().__init__()
        width, heads = config.width_decoder, config.num_attention_heads
        layers = [SelfBlock(width, heads) for _ in range(config.num_layers_decoder)]
        self.proj_query = nn.Linear(config.point_features, width)
        self.blocks = nn.ModuleList([*layers, CrossBlock(width, heads)])
        self.norm_out = FloatNorm(width, eps=EPS)
        self.proj_out = nn.Linear(width, 1)


class Autoencoder(nn.Module):
    """The released tensors; it has no forward of its own."""

    def __init__(self, config: Vae) -> None:
        super().__init__()
        features = config.point_features + config.in_channels
        self.encoder = Encoder(features, config.width_encoder, config.num_attention_heads, config.num_layers_encoder)
        self.decoder = Decoder(config)
        self.quant = nn.Linear(config.width_encoder, 2 * config.latent_channels)
        self.post_quant = nn.Linear(config.latent_channels, config.width_decoder)


class LatentDecoder(HalfBlocks):
    """Keys and values [B, 2, H, N, d], that points attend to, of latents [B, N, C]."""

    stack = "blocks"

    def __init__(self, released: Autoencoder) -> None:
        """Takes the parts of `released` that it needs."""
        super().__init__()
        *blocks, last = released.decoder.blocks
        assert isinstance(last, CrossBlock)
        self.post_quant, self.blocks, self.heads = released.post_quant, nn.ModuleList(blocks), last.attn2.heads
        self.norm_cross, self.to_k, self.to_v = last.attn2.norm_cross, last.attn2.to_k, last.attn2.to_v

    def before(self, z: Tensor) -> tuple[Tensor]:
        """What the first block takes, in the blocks' dtype."""
        return (self.post_quant(z).to(self.block_dtype),)

    def after(self, x: Tensor) -> Tensor:
        """Keys and values of the last rows."""
        h = self.norm_cross(x.float())
        return torch.stack([by_head(self.to_k(h), self.heads), by_head(self.to_v(h), self.heads)], 1)

    def forward(self, z: Tensor) -> Tensor:
        (x,) = self.before(z)
        for block in self.blocks:
            x = block(x)
        return self.after(x)


class PointBlock(nn.Module):
    """The decoder's last block, without what it needs of the latents once."""

    def __init__(self, block: CrossBlock) -> None:
        """Takes parts of `block`."""
        super().__init__()
        self.heads, self.norm2, self.to_q = block.attn2.heads, block.norm2, block.attn2.to_q
        self.to_out, self.norm3, self.ff = block.attn2.to_out[0], block.norm3, block.ff

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        x = x + self.to_out(attend(by_head(self.to_q(self.norm2(x)), self.heads), keys, values))
        return x + self.ff(self.norm3(x))  # type: ignore[no-any-return]


class Query(HalfBlocks):
    """Logits [B, P, 1], above 0 inside, of points [B, P, 3] under keys and values [B, 2, H, N, d] of latents."""

    def __init__(self, released: Autoencoder, config: Vae) -> None:
        """Takes the parts of `released` that it needs."""
        super().__init__()
        decoder, last = released.decoder, released.decoder.blocks[-1]
        assert isinstance(last, CrossBlock)
        self.proj_query, self.blocks = decoder.proj_query, nn.ModuleList([PointBlock(last)])
        self.norm_out, self.proj_out = decoder.norm_out, decoder.proj_out
        self.register_buffer("frequencies", frequencies(config.embed_frequency, config.embed_include_pi))

    def forward(self, context: Tensor, points: Tensor) -> Tensor:
        keys, values = context.to(self.block_dtype).unbind(1)
        features = point_features(points, self.get_buffer("frequencies"))
        x = self.blocks[0](self.proj_query(features).to(self.block_dtype), keys, values)
        return -self.proj_out(self.norm_out(x.float()))  # type: ignore[no-any-return]
