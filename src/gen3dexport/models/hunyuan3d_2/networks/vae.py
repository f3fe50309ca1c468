"""Hunyuan3D-2's decoder of shapes: a set of latent vectors, and whether a point lies inside. Released names.

`LatentDecoder` and `Query` are what is built of the released parts: what a latent set needs once, and what a point
needs. Source: Zhao et al. 2025, "Hunyuan3D 2.0", after Zhang et al. 2023, "3DShape2VecSet".
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.models.hunyuan3d_2.host.model import Vae
from gen3dexport.networks.half_precision import FloatNorm, HalfBlocks
from gen3dexport.networks.packed_heads import attend, by_head, by_layer
from gen3dexport.networks.point_features import frequencies, point_features

_EPS = 1e-6


class Mlp(nn.Module):
    """A wider layer with GELU, and back."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.c_fc, self.c_proj = nn.Linear(width, ratio * width), nn.Linear(ratio * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x)))  # type: ignore[no-any-return]


def head_norms(head_width: int, wanted: bool) -> nn.ModuleDict:
    """The norms of queries and keys, where the model has them."""
    return nn.ModuleDict(
        {name: FloatNorm(head_width, eps=_EPS) if wanted else nn.Identity() for name in ("q_norm", "k_norm")}
    )


class Packed(nn.Linear):
    """Several matrices as one that was cut into heads first; `unpack` puts its rows in order, once."""

    def __init__(self, width: int, parts: int, heads: int, bias: bool) -> None:
        super().__init__(width, parts * width, bias=bias)
        self.parts, self.heads, self.unpacked = parts, heads, False

    def unpack(self) -> None:
        """Rows by matrix, then by head."""
        if not self.unpacked:
            self.weight = nn.Parameter(self._ordered(self.weight.detach()), requires_grad=False)
            if self.bias is not None:
                self.bias = nn.Parameter(self._ordered(self.bias.detach()[:, None])[:, 0], requires_grad=False)
        self.unpacked = True

    def _ordered(self, rows: Tensor) -> Tensor:
        return torch.cat(by_layer(rows.chunk(self.parts), self.heads))


class SelfAttention(nn.Module):
    """Self-attention of rows [B, T, W]."""

    def __init__(self, config: Vae) -> None:
        super().__init__()
        width, self.heads = config.width, config.heads
        self.c_qkv, self.c_proj = Packed(width, 3, config.heads, config.qkv_bias), nn.Linear(width, width)
        self.attention = head_norms(width // config.heads, config.qk_norm)

    def forward(self, x: Tensor) -> Tensor:
        assert self.c_qkv.unpacked, "unpack() comes before the first call"
        q, k, v = (by_head(part, self.heads) for part in self.c_qkv(x).chunk(3, -1))
        return self.c_proj(attend(self.attention["q_norm"](q), self.attention["k_norm"](k), v))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Self-attention and MLP, each after a norm and added to its input."""

    def __init__(self, config: Vae) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = FloatNorm(config.width, eps=_EPS), FloatNorm(config.width, eps=_EPS)
        self.attn, self.mlp = SelfAttention(config), Mlp(config.width, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))  # type: ignore[no-any-return]


class CrossAttention(nn.Module):
    """The layers of the attention of points over latents; it has no forward of its own."""

    def __init__(self, width: int, heads: int, bias: bool, norms: bool) -> None:
        super().__init__()
        self.heads = heads
        self.c_q, self.c_kv = nn.Linear(width, width, bias=bias), Packed(width, 2, heads, bias)
        self.c_proj, self.attention = nn.Linear(width, width), head_norms(width // heads, norms)


class CrossBlock(nn.Module):
    """The released tensors of the block that points go through; it has no forward of its own."""

    def __init__(self, config: Vae) -> None:
        super().__init__()
        width, heads = config.point_width, config.heads // config.geo_decoder_downsample_ratio
        norms = config.qk_norm and config.geo_decoder_ln_post
        self.ln_1, self.ln_2, self.ln_3 = (FloatNorm(width, eps=_EPS) for _ in range(3))
        self.attn = CrossAttention(width, heads, config.qkv_bias, norms)
        self.mlp = Mlp(width, config.geo_decoder_mlp_expand_ratio)


class PointDecoder(nn.Module):
    """The released tensors of what points go through; it has no forward of its own."""

    def __init__(self, config: Vae) -> None:
        super().__init__()
        width = config.point_width
        self.query_proj = nn.Linear(3 + 6 * config.num_freqs, width)
        if config.geo_decoder_downsample_ratio > 1:
            self.latents_proj = nn.Linear(config.width, width)
        self.cross_attn_decoder = CrossBlock(config)
        if config.geo_decoder_ln_post:
            self.ln_post = FloatNorm(width, eps=1e-5)
        self.output_proj = nn.Linear(width, 1)


class Decoder(nn.Module):
    """The released tensors; it has no forward of its own."""

    def __init__(self, config: Vae) -> None:
        super().__init__()
        self.post_kl = nn.Linear(config.embed_dim, config.width)
        blocks = nn.ModuleList(Block(config) for _ in range(config.num_decoder_layers))
        self.transformer = nn.ModuleDict({"resblocks": blocks})
        self.geo_decoder = PointDecoder(config)


class LatentDecoder(HalfBlocks):
    """Keys and values [B, 2, H, N, d], that points attend to, of latents [B, N, C] as they leave the sampler."""

    stack = "blocks"

    def __init__(self, released: Decoder, scale_factor: float) -> None:
        """Takes the parts of `released` that it needs."""
        super().__init__()
        self.scale_factor, self.post_kl = scale_factor, released.post_kl
        blocks, points = released.transformer["resblocks"], released.geo_decoder
        assert isinstance(blocks, nn.ModuleList)
        self.blocks, cross = blocks, points.cross_attn_decoder
        self.latents_proj = getattr(points, "latents_proj", nn.Identity())
        self.ln_2, self.c_kv, self.heads = cross.ln_2, cross.attn.c_kv, cross.attn.heads
        self.k_norm = cross.attn.attention["k_norm"]

    def before(self, z: Tensor) -> tuple[Tensor]:
        """What the first block takes, in the blocks' dtype."""
        return (self.post_kl(z / self.scale_factor).to(self.block_dtype),)

    def after(self, x: Tensor) -> Tensor:
        """Keys and values of the last rows."""
        k, v = (by_head(p, self.heads) for p in self.c_kv(self.ln_2(self.latents_proj(x.float()))).chunk(2, -1))
        return torch.stack([self.k_norm(k), v], 1)

    def latent_set(self, z: Tensor) -> Tensor:
        """The rows [B, N, W] that the last block gives."""
        (x,) = self.before(z)
        for block in self.blocks:
            x = block(x)
        return x

    def forward(self, z: Tensor) -> Tensor:
        return self.after(self.latent_set(z))


class PointBlock(nn.Module):
    """The block that points go through, without what it needs of the latents once."""

    def __init__(self, block: CrossBlock) -> None:
        """Takes parts of `block`."""
        super().__init__()
        self.heads, self.ln_1, self.ln_3, self.mlp = block.attn.heads, block.ln_1, block.ln_3, block.mlp
        self.c_q, self.c_proj, self.q_norm = block.attn.c_q, block.attn.c_proj, block.attn.attention["q_norm"]

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        x = x + self.c_proj(attend(self.q_norm(by_head(self.c_q(self.ln_1(x)), self.heads)), keys, values))
        return x + self.mlp(self.ln_3(x))  # type: ignore[no-any-return]


class Query(HalfBlocks):
    """Logits [B, P, 1], above 0 inside, of points [B, P, 3] under keys and values [B, 2, H, N, d] of latents."""

    def __init__(self, released: Decoder, config: Vae) -> None:
        """Takes the parts of `released` that it needs."""
        super().__init__()
        points = released.geo_decoder
        self.query_proj, self.blocks = points.query_proj, nn.ModuleList([PointBlock(points.cross_attn_decoder)])
        self.ln_post, self.output_proj = getattr(points, "ln_post", nn.Identity()), points.output_proj
        self.register_buffer("frequencies", frequencies(config.num_freqs, config.include_pi))

    def forward(self, context: Tensor, points: Tensor) -> Tensor:
        keys, values = context.to(self.block_dtype).unbind(1)
        features = point_features(points, self.get_buffer("frequencies"))
        x = self.blocks[0](self.query_proj(features).to(self.block_dtype), keys, values)
        return self.output_proj(self.ln_post(x.float()))  # type: ignore[no-any-return]


def unpack(module: nn.Module) -> None:
    """Put the rows of every packed matrix inside `module` in order."""
    for part in module.modules():
        if isinstance(part, Packed):
            part.unpack()
