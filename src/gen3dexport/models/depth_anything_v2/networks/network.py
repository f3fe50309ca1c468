"""Depth Anything V2's network, as released and as it is built for one picture size.

Source: Yang et al. 2024, "Depth Anything V2".
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.models.depth_anything_v2.host.model import Model
from gen3dexport.networks.dinov2 import Dinov2, Dinov2Taps, TableRule
from gen3dexport.networks.dpt import DptDecoder, DptHead, Upsampling
from gen3dexport.networks.half_precision import HalfBlocks


class Released(nn.Module):
    """The tensors of the original release by their names; it has no forward of its own."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.pretrained = Dinov2(
            model.hidden_size, model.num_hidden_layers, model.num_attention_heads, model.table_edge, model.patch_size
        )
        self.depth_head = DptHead(
            model.hidden_size, model.neck_hidden_sizes, model.fusion_hidden_size, model.head_hidden_size
        )


class DepthNetwork(HalfBlocks):
    """Depth [B, H, W] of pictures [B, 3, H, W] in ImageNet's normalisation: in metres, or inverse and relative."""

    halved = "encoder"

    def __init__(
        self, released: Released, model: Model, size: tuple[int, int], rule: TableRule, upsampling: Upsampling
    ) -> None:
        """Takes the parts of `released`; `size` is H and W."""
        super().__init__()
        grid = (size[0] // model.patch_size, size[1] // model.patch_size)
        self.max_depth = model.max_depth
        self.encoder = Dinov2Taps(released.pretrained, [index - 1 for index in model.out_indices], grid, rule)
        self.head = DptDecoder(released.depth_head, grid, model.patch_size, upsampling)

    def activated(self, logit: Tensor) -> Tensor:
        """Depth [B, H, W] of the head's map [B, 1, H, W]."""
        depth = F.relu(logit) if self.max_depth is None else torch.sigmoid(logit) * self.max_depth
        return depth.squeeze(1)

    def forward(self, image: Tensor) -> Tensor:
        return self.activated(self.head(self.encoder(image)))
