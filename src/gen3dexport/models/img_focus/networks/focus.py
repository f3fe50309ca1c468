"""The network: the published tensors by name, and what is built of them for one size of picture."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.models.img_focus.host.model import UPSAMPLINGS, Model
from gen3dexport.models.img_focus.networks.decoder import ReleasedDecoder, Upsampling, folded
from gen3dexport.networks.dinov2 import Dinov2, Dinov2Taps
from gen3dexport.networks.half_precision import HalfBlocks


class Released(nn.Module):
    """The published tensors by the names of `Dinov2` and of the decoder; it has no forward of its own."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.backbone = Dinov2(model.hidden_size, model.layers, model.heads, model.table_edge, model.patch_size)
        del self.backbone.mask_token  # of training, and not published
        self.decoder = ReleasedDecoder(model.decoder)


class Focus(HalfBlocks):
    """Maps [B, 1, S, S] in [0, 1] of pictures [B, 3, S, S] in ImageNet's normalisation."""

    stack = "encoder.blocks"
    halved = "encoder"

    def __init__(self, released: Released, model: Model, size: int) -> None:
        """Takes the parts of `released`; `size` is S."""
        super().__init__()
        self.edge = size // model.patch_size
        self.encoder = Dinov2Taps(released.backbone, [model.layers - 1], (self.edge, self.edge), "size")
        self.decoder = nn.ModuleList(Upsampling(*pair) for pair in itertools.pairwise(model.decoder))
        for i, part in enumerate(self.decoder):
            part.load_state_dict(folded(released.decoder, i + 1), strict=True, assign=True)
        self.head = nn.Linear(model.decoder[-1], 1)
        final = {"weight": released.decoder.final_conv.weight.flatten(1), "bias": released.decoder.final_conv.bias}
        self.head.load_state_dict(final, strict=True, assign=True)
        self.register_buffer("resize", bilinear(self.edge * 2**UPSAMPLINGS, size))

    def before(self, image: Tensor) -> tuple[Tensor]:
        """Tokens [B, 1 + patches, C] of pictures, in the blocks' dtype."""
        return (self.encoder.before(image),)

    def logits(self, tokens: Tensor) -> Tensor:
        """What the decoder makes of normed tokens, before it is resized: [B, 1, 8E, 8E] for E patches an edge."""
        x, edge = tokens[:, 1:], self.edge
        for part in self.decoder:
            x, edge = part(x, edge), 2 * edge
        return self.head(x).reshape(-1, 1, edge, edge)  # type: ignore[no-any-return]

    def after(self, x: Tensor) -> Tensor:
        """The map of the last tokens."""
        return self.map_of(self.encoder.norm(x.float()))

    def map_of(self, tokens: Tensor) -> Tensor:
        """The map of normed tokens."""
        resize = self.get_buffer("resize")
        rows = F.linear(self.logits(tokens).transpose(2, 3), resize)
        return torch.sigmoid(F.linear(rows.transpose(2, 3), resize))

    def forward(self, image: Tensor) -> Tensor:
        return self.map_of(*self.encoder(image))


def bilinear(taken: int, given: int) -> Tensor:
    """The matrix [given, taken] that resamples a line bilinearly, pixels as areas."""
    return F.interpolate(torch.eye(taken)[None], size=given, mode="linear", align_corners=False)[0].mT.contiguous()
