"""CLIP (Radford et al. 2021) as models of points take it: one vector of a prompt, a grid and a vector of a picture.

Blocks are those of the transformers library's models.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.networks.clip import ClipTokenEncoder
from gen3dexport.networks.half_precision import HalfBlocks, norms_in_float32
from gen3dexport.networks.linear_layers import as_linear, patches
from gen3dexport.networks.pretrained import random_pretrained, read_pretrained

_BESIDE_TEXT = ("vision_model.", "visual_projection.", "logit_scale", "text_model.embeddings.position_ids")
_BESIDE_VISION = ("text_model.", "text_projection.", "logit_scale", "vision_model.embeddings.position_ids")
"""Tensors of a released file that one half does not need: the other's, and stored position ids."""


class Masked(nn.Module):
    """A block of the library's, which takes tokens and a mask, and options by name besides."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.block(x, mask)  # type: ignore[no-any-return]


class Unmasked(nn.Module):
    """A block of the library's, whose tokens all attend to each other."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x, None)  # type: ignore[no-any-return]


class ClipTextVector(ClipTokenEncoder):
    """Vectors [B, P] of length 1 of token ids [B, L] (int64), read at their end marks.

    `end` [B, L] float32 is 1 at the first end mark and 0 elsewhere. What stands after that changes nothing.
    """

    def __init__(self, model: nn.Module) -> None:
        parts: Any = model
        super().__init__(parts.text_model)
        self.blocks = nn.ModuleList(Masked(block) for block in self.blocks)
        self.projection: nn.Linear = parts.text_projection

    def before(self, ids: Tensor, end: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        """Tokens and the mask of `ClipTokenEncoder`, and where the end marks are."""
        return (*super().before(ids), end)

    def after(self, x: Tensor, mask: Tensor, end: Tensor) -> Tensor:  # type: ignore[override]
        """The vectors of the last tokens."""
        pooled = (end[:, None] @ self.final_norm(x.float()))[:, 0]
        return unit(self.projection(pooled))

    def forward(self, ids: Tensor, end: Tensor) -> Tensor:  # type: ignore[override]
        x, mask, _ = self.before(ids, end)
        for block in self.blocks:
            x = block(x, mask)
        return self.after(x, mask, end)


class ClipImageGrid(HalfBlocks):
    """Tokens [B, C, L] of pictures [B, 3, S, S] in CLIP's normalisation: the last block's, patches row by row, without
    the class token and before the final norm; and, where asked, vectors [B, P] of length 1."""

    stack = "blocks"

    def __init__(self, model: nn.Module, vectors: bool) -> None:
        """`model`: the library's, with a projection where `vectors` are made, too."""
        super().__init__()
        parts: Any = model
        vision = parts.vision_model if vectors else parts
        embeddings = vision.embeddings
        convolution = embeddings.patch_embedding
        self.patch_size, self.vectors = int(convolution.kernel_size[0]), vectors
        self.patch_projection = as_linear(convolution)
        positions = embeddings.position_embedding.weight.detach()
        self.prefix = nn.Parameter((embeddings.class_embedding.detach() + positions[0])[None, None], False)
        self.positions = nn.Parameter(positions[None, 1:].clone(), requires_grad=False)
        first: nn.LayerNorm = vision.pre_layrnorm
        self.pre_norm, self.blocks = first, nn.ModuleList(Unmasked(block) for block in vision.encoder.layers)
        norms_in_float32(self.blocks)
        if vectors:
            self.post_norm: nn.LayerNorm = vision.post_layernorm
            self.projection: nn.Linear = parts.visual_projection

    def before(self, image: Tensor) -> tuple[Tensor]:
        """Tokens [B, 1 + L, C] of pictures, in the blocks' dtype."""
        tokens = self.patch_projection(patches(image, self.patch_size)) + self.positions
        return (self.pre_norm(torch.cat([self.prefix.expand(len(image), -1, -1), tokens], 1)).to(self.block_dtype),)

    def after(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """The grid of the last tokens, and where asked the vectors."""
        h = x.float()
        grid = h[:, 1:].transpose(1, 2).contiguous()
        return (grid, unit(self.projection(self.post_norm(h[:, 0])))) if self.vectors else grid

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        (x,) = self.before(image)
        for block in self.blocks:
            x = block(x)
        return self.after(x)


def unit(x: Tensor) -> Tensor:
    """Vectors [..., C] at length 1."""
    return F.normalize(x, dim=-1)


def text_vectors(
    config: Mapping[str, Any], folder: Path | None, allow_pickle: bool = False, strip_prefix: str = ""
) -> ClipTextVector:
    """The text half of that configuration with the weights of `folder`, or random ones when there is none.

    Raises:
        UsageError: when the folder's weights are missing, damaged or do not fit.
    """
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    last = int(config["vocab_size"]) - 1  # special tokens, which only the library's own pooling looks for
    known = CLIPTextConfig(**config, bos_token_id=last, eos_token_id=last, attn_implementation="sdpa")
    return ClipTextVector(
        _model(CLIPTextModelWithProjection, known, folder, _BESIDE_TEXT, allow_pickle, strip_prefix)
    ).eval()


def image_grid(
    config: Mapping[str, Any],
    folder: Path | None,
    vectors: bool,
    allow_pickle: bool = False,
    strip_prefix: str = "",
) -> ClipImageGrid:
    """The picture half likewise; `vectors`: whether it makes them beside the grid.

    Raises:
        UsageError: when the folder's weights are missing, damaged or do not fit.
    """
    from transformers import CLIPVisionConfig, CLIPVisionModel, CLIPVisionModelWithProjection

    known = CLIPVisionConfig(**config, attn_implementation="sdpa")
    library = CLIPVisionModelWithProjection if vectors else CLIPVisionModel
    unused = _BESIDE_VISION if vectors else (*_BESIDE_VISION, "visual_projection.")
    model = _model(library, known, folder, unused, allow_pickle, strip_prefix)
    return ClipImageGrid(model, vectors).eval()


def _model(
    library: Any, config: Any, folder: Path | None, unused: tuple[str, ...], allow_pickle: bool, strip_prefix: str
) -> nn.Module:
    if folder is None:
        return random_pretrained(library, config)
    return read_pretrained(library, config, folder, unused, allow_pickle, strip_prefix)
