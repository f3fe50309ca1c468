"""The two heads: depth, its confidence and rays of any number of views; depth and sky of one.

Source: Lin et al. 2025, "Depth Anything 3". Released parts have DPT's names; see `networks.dpt` for what is built.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.models.depth_anything_3.host.model import PATCH, Model
from gen3dexport.models.depth_anything_3.networks.backbone import EPS
from gen3dexport.networks.dpt import DptDecoder, DptHead, Fusion, Upsampling, fuse, fusions_of
from gen3dexport.networks.half_precision import FloatNorm

_LEVELS = 4
_LAST = 32  # channels before a map
_RAYS = 7  # a ray (6) and its confidence
_SHARE = 0.1  # of a place's embedding that is added
_BASE = 100.0  # of its frequencies
_FINEST = "3"  # of the levels of rays the one that counts


def released_head(model: Model) -> DptHead:
    """The head's released tensors by their names; it has no forward of its own."""
    config = model.head
    head = DptHead(config.dim_in, config.out_channels, config.features)
    scratch, half = head.scratch, config.features // 2
    del scratch.get_submodule("refinenet4").resConfUnit1
    scratch.output_conv2 = _last(half, config.output_dim)
    if not model.any_view:
        scratch.sky_output_conv2 = _last(half, 1)
        return head
    head.norm = FloatNorm(config.dim_in, eps=EPS)
    for level in range(1, _LEVELS + 1):
        setattr(scratch, f"refinenet{level}_aux", Fusion(config.features))
    del scratch.get_submodule("refinenet4_aux").resConfUnit1
    widths = [config.features, *[half, config.features] * 2, half]
    scratch.output_conv1_aux = nn.ModuleList(
        nn.Sequential(*(_conv3(a, b) for a, b in itertools.pairwise(widths))) for _ in range(_LEVELS)
    )
    rays = [nn.ModuleDict({"0": _conv3(half, _LAST), "5": nn.Conv2d(_LAST, _RAYS, 1)}) for _ in range(_LEVELS)]
    rays[0]["2"] = FloatNorm(_LAST, eps=EPS)  # one norm of all four levels, stored once
    scratch.output_conv2_aux = nn.ModuleList(rays)
    return head


def _conv3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _last(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_conv3(inputs, _LAST), nn.ReLU(), nn.Conv2d(_LAST, outputs, 1))


class Place(nn.Module):
    """x [B, C, H, W] + a tenth of the embedding of its places.

    Half of the channels are of the column, half of the row, so two small tables are added; zeros fill the other half.
    """

    def __init__(self, channels: int, size: tuple[int, int], aspect: float) -> None:
        """`aspect` is the picture's width over its height."""
        super().__init__()
        diagonal = math.sqrt(1 + aspect * aspect)
        rows = _embedding(channels // 2, size[0], 1 / diagonal)
        columns = _embedding(channels // 2, size[1], aspect / diagonal)
        nothing = [torch.zeros_like(columns), torch.zeros_like(rows)]
        tables = {"across": torch.cat([columns, nothing[0]])[:, None], "down": torch.cat([nothing[1], rows])[..., None]}
        for name, table in tables.items():
            self.register_buffer(name, (_SHARE * table)[None].float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.get_buffer("across") + self.get_buffer("down")


def _embedding(channels: int, count: int, reach: float) -> Tensor:
    """Sines, then cosines [channels, count] of the pixels' places along one axis, from -reach to reach."""
    end = reach * (count - 1) / count
    where = torch.linspace(-end, end, count, dtype=torch.float64)
    frequencies = _BASE ** (-torch.arange(channels // 2, dtype=torch.float64) / (channels // 2))
    turns = frequencies[:, None] * where
    return torch.cat([turns.sin(), turns.cos()])


class ViewHead(nn.Module):
    """Depth and its confidence [B, H, W] of tokens [B, 1 + h * w, C] of four blocks; on demand rays, too."""

    def __init__(self, head: DptHead, model: Model, grid: tuple[int, int], upsampling: Upsampling, rays: bool) -> None:
        """Takes the parts of `head`; `grid` is the patches down and across."""
        super().__init__()
        height, width = grid
        aspect, half = width / height, model.head.features // 2
        assert isinstance(head.norm, FloatNorm)
        self.norm = head.norm
        self.decoder = DptDecoder(head, grid, PATCH, upsampling)
        channels = model.head.out_channels
        resizes = zip(channels, self.decoder.resizes, strict=True)
        self.decoder.resizes = nn.ModuleList(nn.Sequential(Place(c, grid, aspect), resize) for c, resize in resizes)
        whole = (PATCH * height, PATCH * width)
        self.decoder.output = nn.Sequential(Place(half, whole, aspect), self.decoder.output)
        self.rays = RayChain(head.scratch, grid, half, aspect) if rays else None

    def forward(self, tokens: Sequence[Tensor]) -> dict[str, Tensor]:
        decoder = self.decoder
        maps = decoder.maps([self.norm(one) for one in tokens])
        laterals = [layer(m) for layer, m in zip(decoder.laterals, maps, strict=True)]
        finest = fuse(laterals, decoder.fusions, decoder.ups)[-1]
        logits = decoder.output(decoder.last_up(decoder.narrow(finest)))
        found = {"depth": logits[:, 0].exp(), "depth_conf": 1 + logits[:, 1].exp()}
        return found if self.rays is None else found | self.rays(laterals, decoder.ups)


class RayChain(nn.Module):
    """Rays [B, 8 h, 8 w, 6] and their confidence [B, 8 h, 8 w] of the four maps of the tokens."""

    def __init__(self, scratch: nn.Module, grid: tuple[int, int], channels: int, aspect: float) -> None:
        super().__init__()
        self.fusions = fusions_of(scratch, "_aux")
        self.narrow = scratch.get_submodule(f"output_conv1_aux.{_FINEST}")
        self.place = Place(channels, (8 * grid[0], 8 * grid[1]), aspect)
        self.first = scratch.get_submodule(f"output_conv2_aux.{_FINEST}.0")
        self.norm = scratch.get_submodule("output_conv2_aux.0.2")
        self.last = scratch.get_submodule(f"output_conv2_aux.{_FINEST}.5")

    def forward(self, laterals: Sequence[Tensor], ups: nn.ModuleList) -> dict[str, Tensor]:
        x = self.first(self.place(self.narrow(fuse(laterals, self.fusions, ups)[-1])))
        x = F.relu(self.norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        found = self.last(x).permute(0, 2, 3, 1)
        return {"ray": found[..., :-1], "ray_conf": 1 + found[..., -1].exp()}


class SkyHead(nn.Module):
    """Depth and sky [B, H, W] of tokens [B, 1 + h * w, C] of four blocks."""

    def __init__(self, head: DptHead, grid: tuple[int, int], upsampling: Upsampling) -> None:
        """Takes the parts of `head`; `grid` is the patches down and across."""
        super().__init__()
        self.decoder = DptDecoder(head, grid, PATCH, upsampling)
        self.sky = head.scratch.get_submodule("sky_output_conv2")

    def forward(self, tokens: Sequence[Tensor]) -> dict[str, Tensor]:
        decoder = self.decoder
        maps = decoder.maps(tokens)
        laterals = [layer(m) for layer, m in zip(decoder.laterals, maps, strict=True)]
        finest = fuse(laterals, decoder.fusions, decoder.ups)[-1]
        wide = decoder.last_up(decoder.narrow(finest))
        return {"depth": decoder.output(wide).squeeze(1).exp(), "sky": F.relu(self.sky(wide)).squeeze(1)}
