"""Transformer blocks whose tokens attend inside windows: the trunk of the structured latent's decoders and encoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.models.trellis.networks.sparse_layers import gather_rows, set_sparse_dtype
from gen3dexport.models.trellis.networks.structure import MASKED, FeedForward, attend, position_features
from gen3dexport.networks.half_precision import FloatNorm


class WindowAttention(nn.Module):
    """Multi-head self-attention of tokens with those of their own window."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(width, 3 * width)
        self.to_out = nn.Linear(width, width)

    def forward(self, x: Tensor, slots: Tensor, mask: Tensor, place: Tensor) -> Tensor:
        """x [B, T, C]; slots [bins, L], mask [bins, 1, L, L] (see `attend`), place [T] -> [B, T, C]."""
        batch, (bins, length) = x.shape[0], slots.shape
        qkv = gather_rows(self.to_qkv(x), slots).reshape(batch * bins, length, 3, self.heads, -1)
        q, k, v = qkv.unbind(2)
        out = attend(q, k, v, mask if batch == 1 else mask.repeat(batch, 1, 1, 1))
        return self.to_out(out.reshape(batch, bins * length, -1).index_select(1, place))  # type: ignore[no-any-return]


class WindowBlock(nn.Module):
    """Windowed self-attention and MLP, each after a layer norm without parameters."""

    def __init__(self, width: int, heads: int, ratio: float) -> None:
        super().__init__()
        self.norm1 = FloatNorm(width, eps=1e-6, elementwise_affine=False)
        self.norm2 = FloatNorm(width, eps=1e-6, elementwise_affine=False)
        self.attn = WindowAttention(width, heads)
        self.mlp = FeedForward(width, ratio)

    def forward(self, x: Tensor, slots: Tensor, mask: Tensor, place: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x), slots, mask, place)
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


def window_mask(window: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """What is added to the scores of slots, [bins, 1, L, L], of the windows' labels [bins, L]."""
    return torch.ne(window[:, None, :, None], window[:, None, None, :]).to(dtype) * MASKED


class WindowTrunk(nn.Module):
    """Input layer, position embedding and window blocks; even blocks see shift 0, odd ones shift w / 2."""

    def __init__(
        self,
        in_channels: int,
        resolution: int,
        model_channels: int,
        num_blocks: int,
        num_heads: int | None,
        num_head_channels: int,
        mlp_ratio: float,
        window_size: int,
    ) -> None:
        super().__init__()
        heads = num_heads or model_channels // num_head_channels
        self.resolution = resolution
        self.window_size = window_size
        self.block_dtype = torch.float32
        self.input_layer = nn.Linear(in_channels, model_channels)
        self.blocks = nn.ModuleList(WindowBlock(model_channels, heads, mlp_ratio) for _ in range(num_blocks))

    def set_block_dtype(self, dtype: torch.dtype) -> None:
        """Run the blocks in `dtype`, as the released half-precision checkpoints do."""
        self.block_dtype = dtype
        set_sparse_dtype(self.blocks, dtype)

    def embed(self, feats: Tensor, coords: Tensor) -> Tensor:
        """Tokens [B, T, C] in the blocks' dtype, of feats [B, T, in] at coords [T, 3]."""
        h = self.input_layer(feats)
        return (h + position_features(coords, h.shape[-1])).to(self.block_dtype)  # type: ignore[no-any-return]

    def trunk(
        self,
        feats: Tensor,
        coords: Tensor,
        slots: Tensor,
        window: Tensor,
        place: Tensor,
        shifted_slots: Tensor,
        shifted_window: Tensor,
        shifted_place: Tensor,
    ) -> Tensor:
        """Tokens [B, T, C] after the last block, in the blocks' dtype."""
        h = self.embed(feats, coords)
        tables = (
            (slots, window_mask(window, h.dtype), place),
            (shifted_slots, window_mask(shifted_window, h.dtype), shifted_place),
        )
        for index, block in enumerate(self.blocks):
            h = block(h, *tables[index % 2])
        return h


def final_norm(h: Tensor) -> Tensor:
    """Layer norm without parameters before an output layer, in float32 (eps 1e-5, unlike the blocks')."""
    return F.layer_norm(h.float(), h.shape[-1:], eps=1e-5)
