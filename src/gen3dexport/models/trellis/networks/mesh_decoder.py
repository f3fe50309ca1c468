"""Decoder of the structured latent to mesh features: a window trunk, then two subdivisions to four times the grid.

Written from the specification of TRELLIS v1 (Xiang et al. 2024, section 3.1 and appendix A).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.errors import UsageError
from gen3dexport.models.trellis.host.voxel_tables import NeighbourGather
from gen3dexport.models.trellis.networks.sparse_layers import (
    PointwiseConv3d,
    SparseConv3d,
    SparseGroupNorm,
    SubdividedConv3d,
    SubdividedNeighbours,
    set_neighbour_gather,
    set_sparse_dtype,
    subdivide,
)
from gen3dexport.models.trellis.networks.window_attention import WindowTrunk

GROUPS = 32
COLOUR_CHANNELS = 48  # 8 corners of rgb and normal


def real_children(real: Tensor) -> Tensor:
    """1 on the eight children [8 T] of real rows [T]."""
    return real[:, None].expand(-1, 8).flatten()


class SubdivideBlock(nn.Module):
    """Every voxel into its eight children, and a residual block on them."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.act_layers = nn.ModuleList([SparseGroupNorm(GROUPS, in_channels)])
        self.out_layers = nn.ModuleList(
            [
                SubdividedConv3d(in_channels, out_channels),
                SparseGroupNorm(GROUPS, out_channels),
                nn.SiLU(),
                SparseConv3d(out_channels, out_channels),
            ]
        )
        same = in_channels == out_channels
        self.skip_connection = nn.Identity() if same else PointwiseConv3d(in_channels, out_channels)

    def forward(self, x: Tensor, real: Tensor, neighbours: Tensor, children: Tensor) -> Tensor:
        """x [1, T, in], real [T], neighbours [T, 27], and those of the children [8 T, 27] -> [1, 8 T, out]."""
        h = self.out_layers[0](F.silu(self.act_layers[0](x, real)), neighbours)
        h = self.out_layers[3](F.silu(self.out_layers[1](h, real_children(real))), children)
        return h + subdivide(self.skip_connection(x))  # type: ignore[no-any-return]


class SLatMeshDecoder(WindowTrunk):
    """Mesh features [1, 64 T, 101] (53 without colour) of a latent [1, T, 8]; `mesh_features.extract` reads them.

    Rows are parent-major: child o of child p of voxel n is row 64 n + 8 p + o.
    """

    def __init__(
        self,
        resolution: int,
        model_channels: int,
        latent_channels: int,
        num_blocks: int,
        representation_config: Mapping[str, Any],
        num_heads: int | None = None,
        num_head_channels: int = 64,
        mlp_ratio: float = 4,
        window_size: int = 8,
        neighbour_gather: NeighbourGather = "all-at-once",
    ) -> None:
        if model_channels % (8 * GROUPS):
            raise UsageError(f"SLatMeshDecoder: model_channels={model_channels}; must be a multiple of {8 * GROUPS}")
        super().__init__(
            latent_channels,
            resolution,
            model_channels,
            num_blocks,
            num_heads,
            num_head_channels,
            mlp_ratio,
            window_size,
        )
        self.model_channels = model_channels
        self.use_color = bool(representation_config.get("use_color", False))
        self.upsample = nn.ModuleList(
            [
                SubdivideBlock(model_channels, model_channels // 4),
                SubdivideBlock(model_channels // 4, model_channels // 8),
            ]
        )
        self.out_layer = nn.Linear(model_channels // 8, 53 + (COLOUR_CHANNELS if self.use_color else 0))
        self.subdivided_neighbours = SubdividedNeighbours()
        set_neighbour_gather(self, neighbour_gather)

    def set_block_dtype(self, dtype: torch.dtype) -> None:
        """Run the blocks and subdivisions in `dtype`, as the released half-precision checkpoints do."""
        super().set_block_dtype(dtype)
        set_sparse_dtype(self.upsample, dtype)

    def forward(
        self,
        feats: Tensor,
        coords: Tensor,
        slots: Tensor,
        window: Tensor,
        place: Tensor,
        shifted_slots: Tensor,
        shifted_window: Tensor,
        shifted_place: Tensor,
        neighbours: Tensor,
        real: Tensor,
    ) -> Tensor:
        """feats [1, T, 8] at coords [T, 3]; window tables of both shifts; neighbours [T, 27]; real [T] (1, 0)."""
        h = self.trunk(feats, coords, slots, window, place, shifted_slots, shifted_window, shifted_place)
        return self.refine(h, neighbours, real)

    def refine(self, h: Tensor, neighbours: Tensor, real: Tensor) -> Tensor:
        """Features of the 64 T small cubes, from the trunk's tokens [1, T, C]."""
        for block in self.upsample:
            children = self.subdivided_neighbours(neighbours)
            h = block(h, real, neighbours, children)
            neighbours, real = children, real_children(real)
        return self.out_layer(h.float())  # type: ignore[no-any-return]
