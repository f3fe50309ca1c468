"""The whole network: a normalised picture to a map of what matters, for one size of picture."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.models.img_focus.host.model import UPSAMPLINGS, Model
from gen3dexport.models.img_focus.networks import decoder, vit
from gen3dexport.networks.pretrained import FloatNorm, set_dtype


class Focus(nn.Module):
    """Maps [B, 1, S, S] in [0, 1] of pictures [B, 3, S, S] in ImageNet's normalisation."""

    stack = "blocks"

    def __init__(self, model: Model, size: int, state: Mapping[str, Tensor]) -> None:
        """Takes the released tensors of `state`, all of them; `size` is S."""
        super().__init__()
        self.block_dtype = torch.float32
        self.patch, self.edge = model.patch_size, size // model.patch_size
        embeddings = _below(state, "backbone.embeddings.")
        kernel = embeddings["patch_embeddings.projection.weight"]
        positions = resampled(embeddings["position_embeddings"], self.edge)
        self.patch_projection = nn.Linear(kernel[0].numel(), model.hidden_size)
        _set(
            self.patch_projection, {"weight": kernel.flatten(1), "bias": embeddings["patch_embeddings.projection.bias"]}
        )
        self.first = nn.Parameter(embeddings["cls_token"] + positions[:, :1], requires_grad=False)
        self.positions = nn.Parameter(positions[:, 1:].clone(), requires_grad=False)
        self.blocks = nn.ModuleList(vit.Block(model) for _ in range(model.layers))
        for i, block in enumerate(self.blocks):
            _set(block, vit.folded(_below(state, f"backbone.encoder.layer.{i}.")))
        self.norm = FloatNorm(model.hidden_size, vit.EPS)
        _set(self.norm, _below(state, "backbone.layernorm."))
        pairs = zip(model.decoder[:-1], model.decoder[1:], strict=True)
        self.decoder = nn.ModuleList(decoder.Upsampling(taken, given) for taken, given in pairs)
        for i, part in enumerate(self.decoder):
            _set(part, decoder.folded(_below(state, "decoder."), i + 1))
        self.head = nn.Linear(model.decoder[-1], 1)
        final = _below(state, "decoder.final_conv.")
        _set(self.head, {"weight": final["weight"].flatten(1), "bias": final["bias"]})
        self.register_buffer("resize", bilinear(self.edge * 2**UPSAMPLINGS, size))

    def set_block_dtype(self, dtype: torch.dtype) -> None:
        """Run the blocks in `dtype`; their norms and everything around them stay float32."""
        self.block_dtype = dtype
        set_dtype(self.blocks, dtype)

    def before(self, image: Tensor) -> tuple[Tensor]:
        """Tokens [B, 1 + patches, C] of pictures, in the blocks' dtype."""
        batch, channels, height, width = image.shape
        p = self.patch
        patches = image.reshape(batch, channels, height // p, p, width // p, p).permute(0, 2, 4, 1, 3, 5)
        tokens = self.patch_projection(patches.reshape(batch, -1, channels * p * p)) + self.positions
        return (torch.cat([self.first.expand(batch, -1, -1), tokens], 1).to(self.block_dtype),)

    def tokens(self, image: Tensor) -> Tensor:
        """Normed tokens [B, 1 + patches, C] after the last block, the class token first."""
        (x,) = self.before(image)
        for block in self.blocks:
            x = block(x)
        return self.norm(x.float())  # type: ignore[no-any-return]

    def logits(self, tokens: Tensor) -> Tensor:
        """What the decoder makes of normed tokens, before it is resized: [B, 1, 8E, 8E] for E patches an edge."""
        x, edge = tokens[:, 1:], self.edge
        for part in self.decoder:
            x, edge = part(x, edge), 2 * edge
        return self.head(x).reshape(-1, 1, edge, edge)  # type: ignore[no-any-return]

    def after(self, x: Tensor) -> Tensor:
        """The map of the last tokens."""
        resize = self.get_buffer("resize")
        rows = F.linear(self.logits(self.norm(x.float())).transpose(2, 3), resize)
        return torch.sigmoid(F.linear(rows.transpose(2, 3), resize))

    def forward(self, image: Tensor) -> Tensor:
        (x,) = self.before(image)
        for block in self.blocks:
            x = block(x)
        return self.after(x)


def resampled(positions: Tensor, edge: int) -> Tensor:
    """The position table [1, 1 + n^2, C] for edge^2 patches: the class token's row, then the n x n grid.

    Bicubic is A = -0.75, to the exact size, without antialiasing; where the grid has that size it is used as it is.
    """
    stored = round((positions.shape[1] - 1) ** 0.5)
    if stored == edge:
        return positions
    grid = positions[:, 1:].mT.unflatten(2, (stored, stored))  # type: ignore[no-untyped-call]
    grid = F.interpolate(grid, size=(edge, edge), mode="bicubic", align_corners=False)
    return torch.cat([positions[:, :1], grid.flatten(2).mT], 1)


def bilinear(taken: int, given: int) -> Tensor:
    """The matrix [given, taken] that resamples a line bilinearly, pixels as areas."""
    return F.interpolate(torch.eye(taken)[None], size=given, mode="linear", align_corners=False)[0].mT.contiguous()


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _set(module: nn.Module, values: Mapping[str, Tensor]) -> None:
    """All parameters of a module."""
    module.load_state_dict(dict(values), strict=True, assign=True)
