"""DPT's head: a map in the picture's size from the tokens of four blocks of a transformer.

Source: Ranftl et al. 2021, "Vision Transformers for Dense Prediction".

`DptHead` holds the released tensors by their names. `DptDecoder` is what is built: for one grid of patches, with layers
that read the tokens as linear ones, which integer schemes take, and 1x1 convolutions before the upsampling that they
follow in the release: both are linear and interpolation weights sum to 1, so the result is the same for less work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.networks.linear_layers import as_linear, linear_of

Upsampling = Literal["resize", "matrices"]
"""Bilinear resizing as torch's operator, or as products with two constant matrices, which suits matrix units."""

_LAST = 32  # channels before the map


class ResidualUnit(nn.Module):
    """x + two 3x3 convolutions of it, each after a ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))  # type: ignore[no-any-return]


class Fusion(nn.Module):
    """The parts of one step from a coarse map to a finer one; it has no forward of its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(width, width, 1)
        self.resConfUnit1 = ResidualUnit(width)
        self.resConfUnit2 = ResidualUnit(width)


class DptHead(nn.Module):
    """The released tensors by their names; it has no forward of its own."""

    def __init__(self, tokens: int, necks: Sequence[int], width: int, last: int = _LAST) -> None:
        """`tokens` is the width of the tokens, `necks` those of the four maps, `width` that of the fused ones."""
        super().__init__()
        c0, c1, _, c3 = necks
        self.projects = nn.ModuleList(nn.Conv2d(tokens, c, 1) for c in necks)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(c0, c0, 4, stride=4),
                nn.ConvTranspose2d(c1, c1, 2, stride=2),
                nn.Identity(),
                nn.Conv2d(c3, c3, 3, stride=2, padding=1),
            ]
        )
        self.scratch = nn.Module()
        for level, c in enumerate(necks, 1):
            setattr(self.scratch, f"layer{level}_rn", nn.Conv2d(c, width, 3, padding=1, bias=False))
            setattr(self.scratch, f"refinenet{level}", Fusion(width))
        self.scratch.output_conv1 = nn.Conv2d(width, width // 2, 3, padding=1)
        last_layers = [nn.Conv2d(width // 2, last, 3, padding=1), nn.ReLU(), nn.Conv2d(last, 1, 1)]
        self.scratch.output_conv2 = nn.Sequential(*last_layers)


class LinearConvolution(nn.Module):
    """A 3x3 convolution with a border of zeros, as a linear layer over the nine neighbours of a place."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        weight = convolution.weight.detach().permute(0, 2, 3, 1).flatten(1)
        self.stride = convolution.stride[0]
        self.linear = linear_of(weight, convolution.bias)

    def forward(self, x: Tensor) -> Tensor:
        *_, height, width = x.shape
        wide = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
        steps = [(i, i + height, self.stride) for i in range(3)], [(j, j + width, self.stride) for j in range(3)]
        near = [wide[:, slice(*down), slice(*across)] for down in steps[0] for across in steps[1]]
        return self.linear(torch.cat(near, -1)).permute(0, 3, 1, 2)  # type: ignore[no-any-return]


class Lateral(nn.Module):
    """One map [B, C, h, w] on its way into the next finer one, through the parts of a `Fusion`."""

    def __init__(self, fusion: Fusion, coarsest: bool) -> None:
        super().__init__()
        self.join = nn.Identity() if coarsest else fusion.resConfUnit1
        self.unit, self.project = fusion.resConfUnit2, fusion.out_conv

    def forward(self, lateral: Tensor, coarser: Tensor | None) -> Tensor:
        x = lateral if coarser is None else coarser + self.join(lateral)
        return self.project(self.unit(x))  # type: ignore[no-any-return]


class Resize(nn.Module):
    """Bilinear resizing [B, C, h, w] -> [B, C, H, W] with the corners of both on each other."""

    def __init__(self, size: tuple[int, int], wanted: tuple[int, int], upsampling: Upsampling) -> None:
        super().__init__()
        self.wanted = wanted
        self.matrices = upsampling == "matrices"
        if self.matrices:
            for name, here, there in zip(("rows", "columns"), size, wanted, strict=True):
                self.register_buffer(name, interpolation(here, there), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.matrices:
            return self.get_buffer("rows") @ x @ self.get_buffer("columns").mT
        return F.interpolate(x, size=self.wanted, mode="bilinear", align_corners=True)


def interpolation(count: int, wanted: int) -> Tensor:
    """The matrix [wanted, count] that interpolates linearly between `count` values, first and last on each other."""
    place = torch.arange(wanted, dtype=torch.float64) * ((count - 1) / max(wanted - 1, 1))
    distance = (place[:, None] - torch.arange(count, dtype=torch.float64)).abs()
    return (1 - distance).clamp(min=0).float()


class DptDecoder(nn.Module):
    """The map [B, 1, patch * h, patch * w] of tokens [B, 1 + h * w, C] of four blocks, before the last activation."""

    def __init__(
        self, head: DptHead, grid: tuple[int, int], patch: int = 14, upsampling: Upsampling = "resize"
    ) -> None:
        """Takes the parts of `head`; `grid` is the patches down and across."""
        super().__init__()
        self.grid = grid
        self.projects = nn.ModuleList(as_linear(convolution) for convolution in head.projects)
        first, second, same, last = head.resize_layers
        assert isinstance(last, nn.Conv2d)
        self.resizes = nn.ModuleList([first, second, same, LinearConvolution(last)])
        scratch = head.scratch
        laterals = [scratch.get_submodule(f"layer{level}_rn") for level in (1, 2, 3, 4)]
        self.laterals = nn.ModuleList([*laterals[:2], *(_gathered(layer) for layer in laterals[2:])])
        self.fusions = fusions_of(scratch)
        h, w = grid
        sizes = [(8 * h, 8 * w), (4 * h, 4 * w), (2 * h, 2 * w), (h, w), ((h + 1) // 2, (w + 1) // 2)]
        self.ups = nn.ModuleList(Resize(sizes[i + 1], sizes[i], upsampling) for i in range(4))
        self.narrow, self.output = scratch.get_submodule("output_conv1"), scratch.get_submodule("output_conv2")
        self.last_up = Resize(sizes[0], (patch * h, patch * w), upsampling)

    def maps(self, tokens: Sequence[Tensor]) -> list[Tensor]:
        """The four maps of the tokens, fine to coarse."""
        found = []
        for taken, project, resize in zip(tokens, self.projects, self.resizes, strict=True):
            there = project(taken[:, 1:]).mT.unflatten(2, self.grid)
            found.append(resize(there))
        return found

    def steps(self, tokens: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """The four maps of the tokens (fine to coarse), the four fused ones (coarse to fine), and the result."""
        maps = self.maps(tokens)
        fused = fuse([layer(m) for layer, m in zip(self.laterals, maps, strict=True)], self.fusions, self.ups)
        return maps, fused, self.output(self.last_up(self.narrow(fused[-1])))

    def forward(self, tokens: Sequence[Tensor]) -> Tensor:
        return self.steps(tokens)[-1]


def fusions_of(scratch: nn.Module, ending: str = "") -> nn.ModuleList:
    """The four steps from coarse to fine, the finest first, of the released parts `refinenet1ENDING` to `4`."""
    found = []
    for level in (1, 2, 3, 4):
        part = scratch.get_submodule(f"refinenet{level}{ending}")
        assert isinstance(part, Fusion)
        found.append(Lateral(part, level == 4))
    return nn.ModuleList(found)


def fuse(laterals: Sequence[Tensor], fusions: nn.ModuleList, ups: nn.ModuleList) -> list[Tensor]:
    """The fused maps, coarse to fine, of four maps of one width, fine to coarse."""
    found: list[Tensor] = []
    for level in (3, 2, 1, 0):
        x = fusions[level](laterals[level], found[-1] if found else None)
        found.append(ups[level](x))
    return found


def _gathered(convolution: nn.Module) -> LinearConvolution:
    assert isinstance(convolution, nn.Conv2d)
    return LinearConvolution(convolution)
