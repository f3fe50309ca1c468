"""CLIP's picture tower (Radford et al. 2021) in the names of open_clip's files: one vector of a picture.

`ClipTowers` holds the released tensors of both towers by their names. `ClipPicture` is what is built.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.models.normalisation import CLIP
from gen3dexport.models.sf3d.host import parts
from gen3dexport.models.sf3d.networks.attention import attend
from gen3dexport.networks.half_precision import FloatNorm, HalfBlocks
from gen3dexport.networks.linear_layers import linear_of

_EPS = 1e-5
_MLP = 4


class _PackedAttention(nn.Module):
    """The tensors of self-attention whose query, key and value are one layer, as torch's own module has them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.randn(3 * width, width) * width**-0.5)
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)


class ClipBlock(nn.Module):
    """Attention and MLP, each after a norm and added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = FloatNorm(width, eps=_EPS), FloatNorm(width, eps=_EPS)
        self.attn: nn.Module = _PackedAttention(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, _MLP * width), "c_proj": nn.Linear(_MLP * width, width)})

    def unpack(self) -> None:
        """Make the packed layer one that can be quantized."""
        packed = self.attn
        assert isinstance(packed, _PackedAttention)
        rows = linear_of(packed.in_proj_weight, packed.in_proj_bias)
        self.attn = nn.ModuleDict({"rows": rows, "out_proj": packed.out_proj})

    def forward(self, x: Tensor) -> Tensor:
        attention = self.attn
        q, k, v = attention.get_submodule("rows")(self.ln_1(x)).chunk(3, -1)
        x = x + attention.get_submodule("out_proj")(attend(q, k, v, self.heads))
        return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x))))  # type: ignore[no-any-return]


def _transformer(width: int, layers: int, heads: int) -> nn.Module:
    return nn.ModuleDict({"resblocks": nn.ModuleList(ClipBlock(width, heads) for _ in range(layers))})


class ClipVisual(nn.Module):
    """The released tensors of the picture tower."""

    def __init__(self, config: parts.Clip) -> None:
        super().__init__()
        width, edge = config.width, config.image_size // config.patch_size
        scale: float = width**-0.5
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(1 + edge * edge, width))
        self.proj = nn.Parameter(scale * torch.randn(width, config.embed_dim))
        self.conv1 = nn.Conv2d(3, width, config.patch_size, config.patch_size, bias=False)
        self.ln_pre, self.ln_post = nn.LayerNorm(width, eps=_EPS), nn.LayerNorm(width, eps=_EPS)
        self.transformer = _transformer(width, config.layers, config.heads)


class ClipTowers(nn.Module):
    """The released tensors of both towers; `text` may be left out."""

    def __init__(self, config: parts.Clip, text: bool) -> None:
        super().__init__()
        self.visual = ClipVisual(config)
        if text:
            width = config.text_width
            self.positional_embedding = nn.Parameter(torch.randn(config.context_length, width) * 0.01)
            self.text_projection = nn.Parameter(torch.randn(width, config.embed_dim) * width**-0.5)
            self.logit_scale = nn.Parameter(torch.tensor(2.6593))
            self.token_embedding = nn.Embedding(config.vocab_size, width)
            self.ln_final = nn.LayerNorm(width)
            self.transformer = _transformer(width, config.text_layers, 1)


class ClipPicture(HalfBlocks):
    """The projected class token [B, E], not normalised, of pictures [B, 3, S, S] in [0, 1]."""

    stack = "blocks"

    def __init__(self, visual: ClipVisual) -> None:
        """Takes the parts of `visual`."""
        super().__init__()
        blocks = visual.transformer.get_submodule("resblocks")
        assert isinstance(blocks, nn.ModuleList)
        for block in blocks:
            assert isinstance(block, ClipBlock)
            block.unpack()
        self.blocks, self.conv1 = blocks, visual.conv1
        self.first = nn.Parameter((visual.class_embedding + visual.positional_embedding[0]).detach()[None, None])
        self.positions = nn.Parameter(visual.positional_embedding.detach()[1:].clone())
        self.ln_pre, self.ln_post = visual.ln_pre, visual.ln_post
        self.projection = linear_of(visual.proj.mT, None)
        self.register_buffer("mean", torch.tensor(CLIP.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(CLIP.std)[:, None, None])

    def before(self, image: Tensor) -> tuple[Tensor]:
        """Tokens [B, 1 + patches, C] of pictures, in the blocks' dtype."""
        patches = self.conv1((image - self.get_buffer("mean")) / self.get_buffer("std")).flatten(2).mT
        tokens = torch.cat([self.first.expand(len(image), -1, -1), patches + self.positions], 1)
        return (self.ln_pre(tokens).to(self.block_dtype),)

    def after(self, x: Tensor) -> Tensor:
        """The vector of the last class token."""
        return self.projection(self.ln_post(x[:, 0].float()))  # type: ignore[no-any-return]

    def forward(self, image: Tensor) -> Tensor:
        (x,) = self.before(image)
        for block in self.blocks:
            x = block(x)
        return self.after(x)
