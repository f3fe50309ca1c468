"""The transformer of views: DINOv2 whose later blocks attend in turn within each view and across all of them.

`Backbone` holds the released tensors by their names. `ViewTaps` is what is built: for one picture size and number of
views. Source: Lin et al. 2025, "Depth Anything 3".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gen3dexport.models.depth_anything_3.host.model import PATCH, Net
from gen3dexport.models.depth_anything_3.host.settings import Reference
from gen3dexport.models.depth_anything_3.networks.reference import FEWEST, chosen, to_front, to_input
from gen3dexport.models.depth_anything_3.networks.rotary import RotaryBlock, angles, places
from gen3dexport.networks.dinov2 import Block, resampled
from gen3dexport.networks.half_precision import FloatNorm, HalfBlocks

EPS = 1e-5
"""Of all norms but the two before a block's attention and MLP."""


def _from(start: int | None, index: int) -> bool:
    return start is not None and index >= start


class Backbone(nn.Module):
    """The released tensors by their names; it has no forward of its own."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        width = net.embed_dim
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        if net.alt_start is not None:
            self.camera_token = nn.Parameter(torch.randn(1, 2, width) * 0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + net.table_edge**2, width) * 0.02)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, PATCH, PATCH)})
        self.blocks = nn.ModuleList(_block(net, index) for index in range(net.depth))
        self.norm = FloatNorm(width, eps=EPS)


def _block(net: Net, index: int) -> Block:
    made = Block(net.embed_dim, net.num_heads)
    if _from(net.qknorm_start, index):
        for name in ("q_norm", "k_norm"):
            made.attn.add_module(name, FloatNorm(net.embed_dim // net.num_heads, eps=EPS))
    return made


@dataclass(frozen=True)
class Taken:
    """What the transformer gives.

    Attributes:
        tokens: of four blocks [B * S, 1 + h * w, C or 2 C], patches' after the final norm.
        camera: feature [B, S, C or 2 C] of every view's camera, of the last of these blocks.
        steps: what is on the way to them, by the golden sets' names.
    """

    tokens: list[Tensor]
    camera: Tensor
    steps: Mapping[str, Tensor]


class ViewTaps(HalfBlocks):
    """Tokens of some blocks for pictures [B, S, 3, H, W] in ImageNet's normalisation."""

    def __init__(
        self, released: Backbone, net: Net, grid: tuple[int, int], views: int, reference: Reference, posed: bool
    ) -> None:
        """Takes the parts of `released`.

        Args:
            grid: patches down and across; reference: how the view is chosen that others are seen from.
            posed: whether the views' cameras are known, and tokens of them are given.
        """
        super().__init__()
        self.taps, self.alternates_from, self.both = net.out_layers, net.alt_start, net.cat_token
        projection = released.patch_embed["proj"]
        assert isinstance(projection, nn.Conv2d)
        self.projection = projection
        table = resampled(released.pos_embed.detach(), grid, "factor")
        self.first = nn.Parameter(released.cls_token.detach() + table[:, :1], requires_grad=False)
        self.positions = nn.Parameter(table[:, 1:].clone(), requires_grad=False)
        self.views = views
        self.reference = reference if views >= FEWEST and not posed else None
        if net.alt_start is not None and not posed:
            own = released.camera_token.detach()
            cameras = torch.cat([own[:, :1], own[:, 1:].expand(-1, views - 1, -1)], 1)
            self.cameras = nn.Parameter(cameras.clone(), requires_grad=False)
        width = net.embed_dim // net.num_heads
        turns = [angles(places(grid, spread=not across), width) for across in (False, True)]
        turns[1] = turns[1].repeat(views, 1)
        blocks = []
        for index, block in enumerate(released.blocks[: max(self.taps) + 1]):
            assert isinstance(block, Block)
            turned = turns[self._across(index)] if _from(net.rope_start, index) else None
            blocks.append(RotaryBlock(block, turned))
        self.blocks = nn.ModuleList(blocks)
        self.norm = released.norm

    def _across(self, index: int) -> bool:
        """Whether a block attends across views."""
        return _from(self.alternates_from, index) and index % 2 == 1

    def forward(self, image: Tensor, cameras: Tensor | None = None) -> Taken:
        """Of pictures, and tokens [B, S, C] of the cameras where they are known."""
        batch, views = image.shape[:2]

        def apart(x: Tensor) -> Tensor:
            return x.reshape(batch, views, *x.shape[1:])

        patches = self.projection(image.flatten(0, 1)).flatten(2).mT
        steps = {"patches": patches}
        first = self.first.expand(batch * views, -1, -1)
        x = torch.cat([first, patches + self.positions], 1).to(self.block_dtype)
        count = x.shape[1]
        within, reference, found = x, None, []
        for index, block in enumerate(self.blocks):
            if self.reference is not None and index + 1 == self.alternates_from:
                reference = chosen(apart(x[:, 0].float()), self.reference)
                steps["reference_view"] = reference
                x = to_front(apart(x), reference).flatten(0, 1)
                within = x
            if index == self.alternates_from:
                tokens = self.cameras.expand(batch, -1, -1) if cameras is None else cameras
                x = torch.cat([tokens.flatten(0, 1)[:, None].to(x.dtype), x[:, 1:]], 1)
                steps[f"block_{index - 1}"] = x  # the reference writes the tokens into that block's result
            if self._across(index):
                x = steps[f"block_{index}"] = block(x.reshape(batch, views * count, -1))
                x = x.reshape(batch * views, count, -1)
            else:
                x = within = steps[f"block_{index}"] = block(x)
            if index in self.taps:
                pair = [part.float() for part in ((within, x) if self.both else (x,))]
                if reference is not None:
                    pair = [to_input(apart(part), reference).flatten(0, 1) for part in pair]
                camera = torch.cat([part[:, 0] for part in pair], -1)
                found.append(torch.cat([*pair[:-1], self.norm(pair[-1])], -1))
        steps["camera_token"] = apart(camera)
        steps |= {f"feat_{k}": apart(tokens[:, 1:]) for k, tokens in enumerate(found)}
        return Taken(found, steps["camera_token"], steps)
