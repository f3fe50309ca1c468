"""TRELLIS's dense networks: sparse-structure flow transformer, decoder and encoder.

Written from the specification of TRELLIS v1 (Xiang et al., "Structured 3D Latents for Scalable and Versatile 3D
Generation", 2024, section 3 and appendix A).  State-dict keys are those of the released checkpoints.

Precision follows the release: the repeated blocks may run in half precision (`set_block_dtype`), everything around them
is float32, and every norm computes in float32 and casts back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.networks.half_precision import FloatNorm


def timestep_features(t: Tensor, width: int = 256) -> Tensor:
    """Sinusoidal features [cos | sin] of t [B] (already multiplied by 1000), as [B, width] float32."""
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32, device=t.device)
    frequencies = torch.exp(steps * (-math.log(10000.0) / half))
    angles = t.float()[:, None] * frequencies[None]
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def position_features(positions: Tensor, width: int) -> Tensor:
    """Absolute position embedding [N, width] of coordinates [N, 3]: [sin | cos] per axis, zero-padded on the right."""
    count = width // 3 // 2
    steps = torch.arange(count, dtype=torch.float32, device=positions.device)
    frequencies = 1.0 / 10000.0 ** (steps / count)
    angles = positions.float()[:, :, None] * frequencies
    features = torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1)
    return F.pad(features, (0, width - features.shape[1]))


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels (axis 1) of [B, C, X, Y, Z], in float32, cast back to the incoming dtype."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float().permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3).to(x.dtype)


class HeadRMSNorm(nn.Module):
    """x / max(||x||, 1e-12) * gamma * sqrt(d) over the last axis of [B, T, H, d], in float32."""

    def __init__(self, heads: int, head_width: int) -> None:
        super().__init__()
        self.scale = math.sqrt(head_width)
        self.gamma = nn.Parameter(torch.ones(heads, head_width))

    def forward(self, x: Tensor) -> Tensor:
        return (F.normalize(x.float(), dim=-1) * self.gamma * self.scale).to(x.dtype)


class TimestepEmbedder(nn.Module):
    """Sinusoidal features of the timestep through a two-layer MLP; always float32."""

    def __init__(self, width: int, feature_width: int = 256) -> None:
        super().__init__()
        self.feature_width = feature_width
        self.mlp = nn.Sequential(nn.Linear(feature_width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        return self.mlp(timestep_features(t, self.feature_width))  # type: ignore[no-any-return]


def unflatten(x: Tensor, axis: int, sizes: tuple[int, ...]) -> Tensor:
    """`Tensor.unflatten`, which torch leaves untyped."""
    return x.unflatten(axis, sizes)  # type: ignore[no-any-return, no-untyped-call]


def interleave(x: Tensor) -> Tensor:
    """[B, C, p0, p1, p2, X, Y, Z] -> [B, C, X*p0, Y*p1, Z*p2]: 3-D pixel shuffle, inverse of patchify."""
    return x.permute(0, 1, 5, 2, 6, 3, 7, 4).flatten(6, 7).flatten(4, 5).flatten(2, 3)


MASKED = -3e4
"""Added to a score that must not count: finite in half precision, so that no row becomes NaN; its exponential is 0."""


def patch_tokens(x: Tensor, p: int) -> Tensor:
    """Patches of edge p as tokens [B, T, C*p^3]: the grid row-major, channel c*p^3 + (i0*p + i1)*p + i2."""
    if p == 1:
        return x.flatten(2).mT
    patches = unflatten(unflatten(unflatten(x, 4, (-1, p)), 3, (-1, p)), 2, (-1, p))
    return patches.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).flatten(1, 3)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax attention of [B, T, H, d] queries over [B, L, H, d] keys and values, as [B, T, H*d].

    `mask` is added to the scores and broadcast to [B, H, T, L]: 0 where a query attends, `MASKED` elsewhere.
    """
    out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), mask)
    return out.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Multi-head self-attention with optional RMS norm of queries and keys."""

    def __init__(self, width: int, heads: int, qk_rms_norm: bool) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(width, 3 * width)
        self.to_out = nn.Linear(width, width)
        self.q_rms_norm = HeadRMSNorm(heads, width // heads) if qk_rms_norm else None
        self.k_rms_norm = HeadRMSNorm(heads, width // heads) if qk_rms_norm else None

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = unflatten(self.to_qkv(x), -1, (3, self.heads, -1)).unbind(2)
        if self.q_rms_norm is not None and self.k_rms_norm is not None:
            q, k = self.q_rms_norm(q), self.k_rms_norm(k)
        return self.to_out(attend(q, k, v, mask))  # type: ignore[no-any-return]


class CrossAttention(nn.Module):
    """Multi-head attention of tokens [B, T, C] over a context [B, L, cond]; the context is used raw."""

    def __init__(self, width: int, cond_width: int, heads: int, qk_rms_norm: bool) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width)
        self.to_kv = nn.Linear(cond_width, 2 * width)
        self.to_out = nn.Linear(width, width)
        self.q_rms_norm = HeadRMSNorm(heads, width // heads) if qk_rms_norm else None
        self.k_rms_norm = HeadRMSNorm(heads, width // heads) if qk_rms_norm else None

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        q = unflatten(self.to_q(x), -1, (self.heads, -1))
        k, v = unflatten(self.to_kv(context), -1, (2, self.heads, -1)).unbind(2)
        if self.q_rms_norm is not None and self.k_rms_norm is not None:
            q, k = self.q_rms_norm(q), self.k_rms_norm(k)
        return self.to_out(attend(q, k, v))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Linear, GELU (tanh approximation), linear."""

    def __init__(self, width: int, ratio: float) -> None:
        super().__init__()
        hidden = int(width * ratio)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(x)  # type: ignore[no-any-return]


class ModulatedCrossBlock(nn.Module):
    """Self-attention, cross-attention and MLP, the first and last modulated by the timestep (adaLN-zero)."""

    def __init__(
        self, width: int, cond_width: int, heads: int, ratio: float, qk_rms_norm: bool, qk_rms_norm_cross: bool
    ) -> None:
        super().__init__()
        self.norm1 = FloatNorm(width, eps=1e-6, elementwise_affine=False)
        self.norm2 = FloatNorm(width, eps=1e-6)
        self.norm3 = FloatNorm(width, eps=1e-6, elementwise_affine=False)
        self.self_attn = SelfAttention(width, heads, qk_rms_norm)
        self.cross_attn = CrossAttention(width, cond_width, heads, qk_rms_norm_cross)
        self.mlp = FeedForward(width, ratio)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x: Tensor, m: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """x [B, T, C] tokens, m [B, C] timestep embedding, context [B, L, cond] -> [B, T, C].

        `mask` says which tokens self-attention sees (see `attend`); None for all.
        """
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(m)[:, None].chunk(6, dim=-1)
        x = x + gate1 * self.self_attn(self.norm1(x) * (1 + scale1) + shift1, mask)
        x = x + self.cross_attn(self.norm2(x), context)
        return x + gate2 * self.mlp(self.norm3(x) * (1 + scale2) + shift2)  # type: ignore[no-any-return]


def set_linear_dtype(module: nn.Module, dtype: torch.dtype) -> None:
    """Cast the linear and convolution parameters inside `module`; norms and RMS gammas stay float32."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv3d):
            part.to(dtype)


class SparseStructureFlow(nn.Module):
    """Velocity of the structure latent: x [B, C, R, R, R], t [B] (times 1000), cond [B, L, cond] -> like x.

    The repeated stack is `blocks`: `before` makes the carried tokens and what every block reads, `after` turns the last
    tokens into the velocity, so that a backend can capture one block and use it for all.
    """

    stack = "blocks"

    def __init__(
        self,
        resolution: int,
        in_channels: int,
        model_channels: int,
        cond_channels: int,
        out_channels: int,
        num_blocks: int,
        num_heads: int | None = None,
        num_head_channels: int = 64,
        mlp_ratio: float = 4,
        patch_size: int = 2,
        qk_rms_norm: bool = False,
        qk_rms_norm_cross: bool = False,
    ) -> None:
        super().__init__()
        heads = num_heads or model_channels // num_head_channels
        self.patch_size = patch_size
        self.grid = resolution // patch_size
        self.out_channels = out_channels
        self.block_dtype = torch.float32
        self.held_context = False  # see held_context.py
        self.t_embedder = TimestepEmbedder(model_channels)
        self.input_layer = nn.Linear(in_channels * patch_size**3, model_channels)
        axis = torch.arange(self.grid)
        positions = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)
        self.register_buffer("pos_emb", position_features(positions, model_channels))
        self.blocks = nn.ModuleList(
            ModulatedCrossBlock(model_channels, cond_channels, heads, mlp_ratio, qk_rms_norm, qk_rms_norm_cross)
            for _ in range(num_blocks)
        )
        self.out_layer = nn.Linear(model_channels, out_channels * patch_size**3)

    def set_block_dtype(self, dtype: torch.dtype) -> None:
        """Run the blocks in `dtype` (float32, float16 or bfloat16), as the released half-precision checkpoints do."""
        self.block_dtype = dtype
        set_linear_dtype(self.blocks, dtype)

    def before(self, x: Tensor, t: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens [B, T, C], timestep embedding [B, C] and context [B, L, cond], in the blocks' dtype."""
        h = self.input_layer(patch_tokens(x, self.patch_size)) + self.get_buffer("pos_emb")
        return h.to(self.block_dtype), self.t_embedder(t).to(self.block_dtype), cond.to(self.block_dtype)

    def after(self, h: Tensor) -> Tensor:
        """Velocity [B, C, R, R, R] of the last tokens [B, T, C]."""
        p, g = self.patch_size, self.grid
        h = self.out_layer(F.layer_norm(h.float(), h.shape[-1:], eps=1e-5)).mT
        if p == 1:
            return unflatten(h, 2, (g, g, g))
        return interleave(unflatten(unflatten(h, 2, (g, g, g)), 1, (self.out_channels, p, p, p)))

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        h, m, context = self.before(x, t, cond)
        for index, block in enumerate(self.blocks):
            h = block(h, m, context[index] if self.held_context else context)
        return self.after(h)


class ResBlock(nn.Module):
    """conv1(silu(norm1(x))) -> conv2(silu(norm2(.))) + x, 3x3x3 convolutions with zero padding 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels, eps=1e-5)
        self.norm2 = ChannelNorm(channels, eps=1e-5)
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))  # type: ignore[no-any-return]


class Upsample(nn.Module):
    """Convolution to 8x the channels, then 3-D pixel shuffle by 2 (input channel k*8 + (r0*2+r1)*2+r2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, 8 * out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return interleave(unflatten(self.conv(x), 1, (-1, 2, 2, 2)))


class Downsample(nn.Module):
    """Convolution with kernel 2 and stride 2."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)  # type: ignore[no-any-return]


class _DenseStages(nn.Module):
    """What the structure decoder and encoder share: layer list, precision and the float32 ends."""

    blocks: nn.ModuleList
    middle_block: nn.Sequential

    def _init_precision(self) -> None:
        self.block_dtype = torch.float32

    def set_block_dtype(self, dtype: torch.dtype) -> None:
        """Run `blocks` and `middle_block` in `dtype`, as the released half-precision checkpoints do."""
        self.block_dtype = dtype
        set_linear_dtype(self.blocks, dtype)
        set_linear_dtype(self.middle_block, dtype)


class SparseStructureDecoder(_DenseStages):
    """Occupancy logits [B, 1, 4R, 4R, 4R] (three levels) of a structure latent [B, 8, R, R, R]; occupied iff > 0."""

    def __init__(
        self,
        out_channels: int,
        latent_channels: int,
        num_res_blocks: int,
        channels: Sequence[int],
        num_res_blocks_middle: int = 2,
    ) -> None:
        super().__init__()
        self._init_precision()
        self.input_layer = nn.Conv3d(latent_channels, channels[0], 3, padding=1)
        self.middle_block = nn.Sequential(*(ResBlock(channels[0]) for _ in range(num_res_blocks_middle)))
        layers: list[nn.Module] = []
        for level, width in enumerate(channels):
            layers += [ResBlock(width) for _ in range(num_res_blocks)]
            if level + 1 < len(channels):
                layers.append(Upsample(width, channels[level + 1]))
        self.blocks = nn.ModuleList(layers)
        self.out_layer = nn.Sequential(
            ChannelNorm(channels[-1], eps=1e-5), nn.SiLU(), nn.Conv3d(channels[-1], out_channels, 3, padding=1)
        )

    def forward(self, z: Tensor) -> Tensor:
        h = self.middle_block(self.input_layer(z).to(self.block_dtype))
        for layer in self.blocks:
            h = layer(h)
        return self.out_layer(h.float())  # type: ignore[no-any-return]


class SparseStructureEncoder(_DenseStages):
    """Mean and log-variance of the structure latent of occupancy [B, 1, 4R, 4R, 4R] (three levels)."""

    def __init__(
        self,
        in_channels: int,
        latent_channels: int,
        num_res_blocks: int,
        channels: Sequence[int],
        num_res_blocks_middle: int = 2,
    ) -> None:
        super().__init__()
        self._init_precision()
        self.input_layer = nn.Conv3d(in_channels, channels[0], 3, padding=1)
        layers: list[nn.Module] = []
        for level, width in enumerate(channels):
            layers += [ResBlock(width) for _ in range(num_res_blocks)]
            if level + 1 < len(channels):
                layers.append(Downsample(width, channels[level + 1]))
        self.blocks = nn.ModuleList(layers)
        self.middle_block = nn.Sequential(*(ResBlock(channels[-1]) for _ in range(num_res_blocks_middle)))
        self.out_layer = nn.Sequential(
            ChannelNorm(channels[-1], eps=1e-5), nn.SiLU(), nn.Conv3d(channels[-1], 2 * latent_channels, 3, padding=1)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (the deterministic latent) and log-variance, each [B, 8, R, R, R]."""
        h = self.input_layer(x).to(self.block_dtype)
        for layer in self.blocks:
            h = layer(h)
        mean, log_variance = self.out_layer(self.middle_block(h).float()).chunk(2, dim=1)
        return mean, log_variance
