"""Velocity of the structured latent: a transformer on the coarse cells between sparse convolutions on the voxels.

Written from the specification of TRELLIS v1 (Xiang et al. 2024, appendix A). One stage of resampling, as every release.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.errors import UsageError
from gen3dexport.models.trellis.host.voxel_tables import NeighbourGather
from gen3dexport.models.trellis.networks.sparse_layers import (
    SparseConv3d,
    downsample,
    set_neighbour_gather,
    set_sparse_dtype,
    upsample,
)
from gen3dexport.models.trellis.networks.structure import (
    MASKED,
    ModulatedCrossBlock,
    TimestepEmbedder,
    position_features,
)
from gen3dexport.networks.half_precision import FloatNorm


class SparseResBlock(nn.Module):
    """conv1(silu(norm1(x))) -> modulated norm -> conv2(silu(.)) + skip(x); the caller resamples x first."""

    def __init__(self, in_channels: int, out_channels: int, embedding: int) -> None:
        super().__init__()
        self.norm1 = FloatNorm(in_channels, eps=1e-6)
        self.norm2 = FloatNorm(out_channels, eps=1e-6, elementwise_affine=False)
        self.conv1 = SparseConv3d(in_channels, out_channels)
        self.conv2 = SparseConv3d(out_channels, out_channels)
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, 2 * out_channels))
        same = in_channels == out_channels
        self.skip_connection = nn.Identity() if same else nn.Linear(in_channels, out_channels)

    def forward(self, x: Tensor, m: Tensor, neighbours: Tensor) -> Tensor:
        """x [B, T, in], m [B, C] timestep embedding, neighbours [T, 27] -> [B, T, out]."""
        scale, shift = self.emb_layers(m)[:, None].chunk(2, dim=-1)
        h = self.conv1(F.silu(self.norm1(x)), neighbours)
        h = self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift), neighbours)
        return h + self.skip_connection(x)  # type: ignore[no-any-return]


class SLatFlow(nn.Module):
    """Velocity [B, T, 8] of voxel features x [B, T, 8] at t [B] (times 1000) under cond [B, L, cond].

    The repeated stack is `blocks`. `before` returns the coarse tokens, what every block reads (timestep embedding,
    context, mask), and what only `after` reads (skips and tables); `after` takes all of it.
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
        num_io_res_blocks: int = 2,
        io_block_channels: Sequence[int] = (128,),
        use_skip_connection: bool = True,
        qk_rms_norm: bool = False,
        qk_rms_norm_cross: bool = False,
        neighbour_gather: NeighbourGather = "all-at-once",
    ) -> None:
        super().__init__()
        if patch_size != 2 or len(io_block_channels) != 1 or not use_skip_connection:
            raise UsageError(
                f"SLatFlowModel: patch_size={patch_size}, io_block_channels={list(io_block_channels)}, "
                f"use_skip_connection={use_skip_connection} is not implemented (no release uses it); "
                "only patch size 2, one width and skip connections are"
            )
        heads, width = num_heads or model_channels // num_head_channels, io_block_channels[0]
        self.resolution = resolution
        self.model_channels = model_channels
        self.block_dtype = torch.float32
        self.held_context = False  # see held_context.py
        self.t_embedder = TimestepEmbedder(model_channels)
        self.input_layer = nn.Linear(in_channels, width)
        fine = range(num_io_res_blocks - 1)
        self.input_blocks = nn.ModuleList(
            [
                *(SparseResBlock(width, width, model_channels) for _ in fine),
                SparseResBlock(width, model_channels, model_channels),
            ]
        )
        self.blocks = nn.ModuleList(
            ModulatedCrossBlock(model_channels, cond_channels, heads, mlp_ratio, qk_rms_norm, qk_rms_norm_cross)
            for _ in range(num_blocks)
        )
        self.out_blocks = nn.ModuleList(
            [
                SparseResBlock(2 * model_channels, width, model_channels),
                *(SparseResBlock(2 * width, width, model_channels) for _ in fine),
            ]
        )
        self.out_layer = nn.Linear(width, out_channels)
        set_neighbour_gather(self, neighbour_gather)

    def set_block_dtype(self, dtype: torch.dtype) -> None:
        """Run all blocks in `dtype`, as the released half-precision checkpoints do."""
        self.block_dtype = dtype
        for part in (self.input_blocks, self.blocks, self.out_blocks):
            set_sparse_dtype(part, dtype)

    def before(
        self,
        x: Tensor,
        t: Tensor,
        cond: Tensor,
        neighbours: Tensor,
        coarse_neighbours: Tensor,
        children: Tensor,
        child_weight: Tensor,
        parent: Tensor,
        coarse_coords: Tensor,
        coarse_real: Tensor,
    ) -> tuple[Tensor, ...]:
        """Coarse tokens [B, T2, C]; timestep embedding, context and mask; neighbour table, parents and skips."""
        m = self.t_embedder(t).to(self.block_dtype)
        h = self.input_layer(x).to(self.block_dtype)
        skips = []
        for block in self.input_blocks[:-1]:
            h = block(h, m, neighbours)
            skips.append(h)
        h = self.input_blocks[-1](downsample(h, children, child_weight), m, coarse_neighbours)
        skips.append(h)
        h = h + position_features(coarse_coords, h.shape[-1]).to(h.dtype)
        mask = ((1 - coarse_real) * MASKED).to(h.dtype)[None, None, None]
        return h, m, cond.to(self.block_dtype), mask, neighbours, parent, *skips

    def after(
        self, h: Tensor, m: Tensor, context: Tensor, mask: Tensor, neighbours: Tensor, parent: Tensor, *skips: Tensor
    ) -> Tensor:
        """Velocity [B, T, 8] of the last coarse tokens [B, T2, C] and what `before` kept."""
        h = upsample(torch.cat([h, skips[-1]], dim=-1), parent)
        h = self.out_blocks[0](h, m, neighbours)
        for block, skip in zip(self.out_blocks[1:], reversed(skips[:-1]), strict=True):
            h = block(torch.cat([h, skip], dim=-1), m, neighbours)
        # The release norms in the blocks' dtype and casts after it.
        return self.out_layer(F.layer_norm(h, h.shape[-1:], eps=1e-5).float())  # type: ignore[no-any-return]

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        cond: Tensor,
        neighbours: Tensor,
        coarse_neighbours: Tensor,
        children: Tensor,
        child_weight: Tensor,
        parent: Tensor,
        coarse_coords: Tensor,
        coarse_real: Tensor,
    ) -> Tensor:
        """Tables are those of `slat_inputs.flow_tables`."""
        h, m, context, mask, *kept = self.before(
            x,
            t,
            cond,
            neighbours,
            coarse_neighbours,
            children,
            child_weight,
            parent,
            coarse_coords,
            coarse_real,
        )
        for index, block in enumerate(self.blocks):
            h = block(h, m, context[index] if self.held_context else context, mask)
        return self.after(h, m, context, mask, *kept)
