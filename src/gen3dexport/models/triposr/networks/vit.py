"""The image encoder: DINO v1's vision transformer (Caron et al. 2021), tokens of a picture.

`ImageTokenizer` holds the released tensors by their names. `ImageEncoder` is what is built: for one image size, with
the position table resampled once and without the pooler, whose result nothing uses.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.models.normalisation import IMAGENET
from gen3dexport.models.triposr.host.model import Vit
from gen3dexport.models.triposr.host.settings import PositionTable
from gen3dexport.models.triposr.networks.attention import attend
from gen3dexport.networks.half_precision import FloatNorm, HalfBlocks

_NUDGE = 0.1  # what transformers 4.35 adds to the number of patches, so that its rounding down gives that number


class VitBlock(nn.Module):
    """Attention and MLP, each after a norm and added to its input."""

    def __init__(self, config: Vit) -> None:
        super().__init__()
        width, self.heads = config.hidden_size, config.num_attention_heads
        parts = {name: nn.Linear(width, width, bias=config.qkv_bias) for name in ("query", "key", "value")}
        output = nn.ModuleDict({"dense": nn.Linear(width, width)})
        self.attention = nn.ModuleDict({"attention": nn.ModuleDict(parts), "output": output})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, config.intermediate_size)})
        self.output = nn.ModuleDict({"dense": nn.Linear(config.intermediate_size, width)})
        self.layernorm_before = FloatNorm(width, eps=config.layer_norm_eps)
        self.layernorm_after = FloatNorm(width, eps=config.layer_norm_eps)

    def attended(self, x: Tensor) -> Tensor:
        """What attention adds to tokens [B, T, C]."""
        h, parts = self.layernorm_before(x), self.attention["attention"]
        q, k, v = (parts.get_submodule(name)(h) for name in ("query", "key", "value"))
        return self.attention["output"].get_submodule("dense")(attend(q, k, v, self.heads))  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attended(x)
        return x + self.output["dense"](F.gelu(self.intermediate["dense"](self.layernorm_after(x))))  # type: ignore[no-any-return]


class ImageTokenizer(nn.Module):
    """The released tensors of the encoder, under `model.`; it has no forward of its own."""

    def __init__(self, config: Vit) -> None:
        super().__init__()
        width, patch = config.hidden_size, config.patch_size
        embeddings = nn.Module()
        embeddings.cls_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        count = (config.image_size // patch) ** 2
        embeddings.position_embeddings = nn.Parameter(torch.randn(1, 1 + count, width) * 0.02)
        projection = nn.Conv2d(config.num_channels, width, patch, patch)
        embeddings.patch_embeddings = nn.ModuleDict({"projection": projection})
        layers = nn.ModuleList(VitBlock(config) for _ in range(config.num_hidden_layers))
        self.model = nn.ModuleDict(
            {
                "embeddings": embeddings,
                "encoder": nn.ModuleDict({"layer": layers}),
                "layernorm": nn.LayerNorm(width, eps=config.layer_norm_eps),
                "pooler": nn.ModuleDict({"dense": nn.Linear(width, width)}),
            }
        )


class ImageEncoder(HalfBlocks):
    """Tokens [B, 1 + patches, C] of pictures [B, 3, S, S] in [0, 1]: class token, then the patches row by row."""

    stack = "blocks"

    def __init__(self, released: ImageTokenizer, image_size: int, table: PositionTable) -> None:
        """Takes the parts of `released`; `image_size` is S, `table` how its position table is resampled."""
        super().__init__()
        model = released.model
        projection = model.get_submodule("embeddings.patch_embeddings.projection")
        assert isinstance(projection, nn.Conv2d)
        self.projection = projection
        positions = model.get_parameter("embeddings.position_embeddings").detach()
        positions = resampled(positions, image_size // projection.kernel_size[0], table)
        first = model.get_parameter("embeddings.cls_token").detach() + positions[:, :1]
        self.first = nn.Parameter(first, requires_grad=False)
        self.positions = nn.Parameter(positions[:, 1:].clone(), requires_grad=False)
        blocks = model.get_submodule("encoder.layer")
        assert isinstance(blocks, nn.ModuleList)
        self.blocks = blocks
        self.norm = model["layernorm"]
        self.register_buffer("mean", torch.tensor(IMAGENET.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(IMAGENET.std)[:, None, None])

    def before(self, image: Tensor) -> tuple[Tensor]:
        """Tokens [B, T, C] of pictures, in the blocks' dtype."""
        patches = self.projection((image - self.get_buffer("mean")) / self.get_buffer("std"))
        tokens = patches.flatten(2).mT + self.positions
        return (torch.cat([self.first.expand(len(image), -1, -1), tokens], 1).to(self.block_dtype),)

    def after(self, x: Tensor) -> Tensor:
        """The last tokens, normed."""
        return self.norm(x.float())  # type: ignore[no-any-return]

    def forward(self, image: Tensor) -> Tensor:
        (x,) = self.before(image)
        for block in self.blocks:
            x = block(x)
        return self.after(x)


def resampled(positions: Tensor, patches: int, table: PositionTable) -> Tensor:
    """The position table [1, 1 + n^2, C] for `patches`^2 patches: the class token's row, then a bicubic n x n grid.

    Bicubic is A = -0.75 without antialiasing; where the grid has that size it is used as it is.
    """
    edge = math.isqrt(positions.shape[1] - 1)
    if edge == patches:
        return positions
    grid = positions[:, 1:].mT.unflatten(2, (edge, edge))  # type: ignore[no-untyped-call]
    if table == "size":
        grid = F.interpolate(grid, size=(patches, patches), mode="bicubic", align_corners=False)
    else:  # torch steps by the factor as given, not by the ratio of the sizes
        factor = (patches + _NUDGE) / edge
        grid = F.interpolate(grid, scale_factor=(factor, factor), mode="bicubic", align_corners=False)
    return torch.cat([positions[:, :1], grid.flatten(2).mT], 1)
