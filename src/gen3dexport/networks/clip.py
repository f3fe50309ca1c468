"""CLIP's text transformer (Radford et al. 2021): token features of a prompt for conditioning.

Blocks are those of transformers' `CLIPTextModel`. Their causal mask is a constant that every block adds to its scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gen3dexport.networks.half_precision import HalfBlocks, norms_in_float32
from gen3dexport.networks.pretrained import MASKED, random_pretrained, read_pretrained

_OTHER_HALF = ("vision_model.", "visual_projection.", "text_projection.", "logit_scale", "text_model.embeddings.pos")
"""Tensors of a released file that token features do not need, and stored position ids."""


class ClipTokenEncoder(HalfBlocks):
    """Features [B, L, C] of token ids [B, L] (int64), padded to the model's length: the last hidden state, normed.

    A token attends to itself and those before it; padding is not masked, as the model was trained.
    """

    stack = "blocks"

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        parts: Any = model
        self.token_embedding: nn.Embedding = parts.embeddings.token_embedding
        self.positions = nn.Parameter(parts.embeddings.position_embedding.weight.detach(), requires_grad=False)
        length = self.positions.shape[0]
        causal = torch.full((length, length), MASKED).triu(1)[None, None]
        self.register_buffer("causal", causal)
        self.blocks: nn.ModuleList = parts.encoder.layers
        norms_in_float32(self.blocks)
        self.final_norm: nn.LayerNorm = parts.final_layer_norm

    def before(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [B, L, C] and the mask [1, 1, L, L] that is added to scores, in the blocks' dtype."""
        tokens = self.token_embedding(ids) + self.positions
        return tokens.to(self.block_dtype), self.get_buffer("causal").to(self.block_dtype)

    def after(self, x: Tensor) -> Tensor:
        """Features of the last tokens."""
        return self.final_norm(x.float())  # type: ignore[no-any-return]

    def forward(self, ids: Tensor) -> Tensor:
        x, mask = self.before(ids)
        for block in self.blocks:
            x = block(x, mask)
        return self.after(x)


def clip_encoder(
    config: Mapping[str, Any], folder: Path | None, allow_pickle: bool = False, strip_prefix: str = ""
) -> ClipTokenEncoder:
    """The encoder of that configuration with the weights of `folder`, or random ones when there is none.

    Raises:
        UsageError: when the folder's weights are missing, damaged or do not fit.
    """
    from transformers import CLIPTextConfig, CLIPTextModel

    last = int(config["vocab_size"]) - 1  # special tokens, which only pooling looks for
    known = CLIPTextConfig(**config, bos_token_id=last, eos_token_id=last, attn_implementation="sdpa")
    if folder is None:
        return ClipTokenEncoder(random_pretrained(CLIPTextModel, known)).eval()
    model = read_pretrained(CLIPTextModel, known, folder, _OTHER_HALF, allow_pickle, strip_prefix)
    return ClipTokenEncoder(model).eval()
