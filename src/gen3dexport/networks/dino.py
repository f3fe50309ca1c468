"""DINOv2 with registers (Oquab et al. 2023; Darcet et al. 2023): tokens of an image for conditioning.

Blocks are those of transformers' `Dinov2WithRegistersModel`; the rest is folded for one image size: the position
embedding is added to the tokens that have one, and the patch convolution (stride = kernel) is a linear layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.networks.half_precision import HalfBlocks, norms_in_float32
from gen3dexport.networks.linear_layers import as_linear, patches
from gen3dexport.networks.pretrained import random_pretrained, read_pretrained


class DinoTokenEncoder(HalfBlocks):
    """Features [B, 1 + registers + patches, C] of images [B, 3, S, S] in ImageNet's normalisation.

    Tokens are those after the last block, before the model's own final norm, through a layer norm without parameters
    (eps 1e-5): class token, registers, patches row by row.
    """

    stack = "blocks"

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        parts: Any = model
        embeddings = parts.embeddings
        convolution = embeddings.patch_embeddings.projection
        self.patch_size = int(convolution.kernel_size[0])
        positions = embeddings.position_embeddings.detach()
        prefix = torch.cat([embeddings.cls_token.detach() + positions[:, :1], embeddings.register_tokens.detach()], 1)
        self.patch_projection = as_linear(convolution)
        self.prefix = nn.Parameter(prefix, requires_grad=False)
        self.positions = nn.Parameter(positions[:, 1:].clone(), requires_grad=False)
        self.blocks: nn.ModuleList = parts.encoder.layer
        norms_in_float32(self.blocks)

    def before(self, image: Tensor) -> tuple[Tensor]:
        """Tokens [B, T, C] of images, in the blocks' dtype."""
        tokens = self.patch_projection(patches(image, self.patch_size)) + self.positions
        return (torch.cat([self.prefix.expand(len(image), -1, -1), tokens], 1).to(self.block_dtype),)

    def after(self, x: Tensor) -> Tensor:
        """Features of the last tokens."""
        return F.layer_norm(x.float(), x.shape[-1:], eps=1e-5)

    def forward(self, image: Tensor) -> Tensor:
        (x,) = self.before(image)
        for block in self.blocks:
            x = block(x)
        return self.after(x)


def dino_encoder(
    config: Mapping[str, Any], folder: Path | None, allow_pickle: bool = False, strip_prefix: str = ""
) -> DinoTokenEncoder:
    """The encoder of that configuration with the weights of `folder`, or random ones when there is none.

    Raises:
        UsageError: when the folder's weights are missing, damaged or do not fit.
    """
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    known = Dinov2WithRegistersConfig(**config, attn_implementation="sdpa")
    if folder is None:
        return DinoTokenEncoder(random_pretrained(Dinov2WithRegistersModel, known)).eval()
    model = read_pretrained(Dinov2WithRegistersModel, known, folder, (), allow_pickle, strip_prefix)
    return DinoTokenEncoder(model).eval()
