"""XFeat (Potje et al. 2024): local features of a picture. Names are the published ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from gen3dexport.models.xfeat.host.keypoints import CELL

_EPS = 1e-5


class Layer(nn.Module):
    """A convolution without bias, a batch norm without parameters, ReLU."""

    def __init__(self, taken: int, given: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        convolution = nn.Conv2d(taken, given, kernel, stride, (kernel - 1) // 2, bias=False)
        self.layer = nn.Sequential(convolution, nn.BatchNorm2d(given, _EPS, affine=False), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)  # type: ignore[no-any-return]

    def fold(self) -> None:
        """Put the norm into the convolution, once."""
        if len(self.layer) > 2:
            convolution, norm, activation = self.layer
            assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
            self.layer = nn.Sequential(fuse_conv_bn_eval(convolution, norm), activation)


class XFeat(nn.Module):
    """As published, and after `fold` as it is built.

    Descriptors [B, 64, H/8, W/8], keypoint logits [B, 65, ...], reliability [B, 1, ...] of pictures [B, 3, H, W]."""

    def __init__(self) -> None:
        super().__init__()
        self.skip1 = nn.Sequential(nn.AvgPool2d(4), nn.Conv2d(1, 24, 1))
        self.block1 = nn.Sequential(Layer(1, 4), Layer(4, 8, stride=2), Layer(8, 8), Layer(8, 24, stride=2))
        self.block2 = nn.Sequential(Layer(24, 24), Layer(24, 24))
        self.block3 = nn.Sequential(Layer(24, 64, stride=2), Layer(64, 64), Layer(64, 64, 1))
        self.block4 = nn.Sequential(Layer(64, 64, stride=2), Layer(64, 64), Layer(64, 64))
        self.block5 = nn.Sequential(Layer(64, 128, stride=2), Layer(128, 128), Layer(128, 128), Layer(128, 64, 1))
        self.block_fusion = nn.Sequential(Layer(64, 64), Layer(64, 64), nn.Conv2d(64, 64, 1))
        self.heatmap_head = nn.Sequential(Layer(64, 64, 1), Layer(64, 64, 1), nn.Conv2d(64, 1, 1), nn.Sigmoid())
        heads = [Layer(64, 64, 1) for _ in range(3)]
        self.keypoint_head = nn.Sequential(*heads, nn.Conv2d(64, 65, 1))
        self.fine_matcher = _fine_matcher()  # of XFeat*, which refines matches; not on the way here

    def fold(self) -> XFeat:
        """Itself with norms inside convolutions and without what its result does not need."""
        del self.fine_matcher
        for part in [part for part in self.eval().modules() if isinstance(part, Layer)]:
            part.fold()
        return self

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        grey = image.mean(1, keepdim=True)
        centred = grey - grey.mean((2, 3), keepdim=True)
        x = centred * torch.rsqrt((centred * centred).mean((2, 3), keepdim=True) + _EPS)
        fine = self.block3(self.block2(self.block1(x) + self.skip1(x)))
        coarse = self.block4(fine)
        size = fine.shape[2:]
        summed = fine + _up(coarse, size) + _up(self.block5(coarse), size)
        feats = self.block_fusion(summed)
        cells = F.pixel_unshuffle(x, CELL)  # a cell's pixels as channels, row by row
        return feats, self.keypoint_head(cells), self.heatmap_head(feats)


def _up(x: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def _fine_matcher() -> nn.Sequential:
    """Two descriptors side by side -> logits of an 8 x 8 grid of offsets."""
    parts: list[nn.Module] = []
    for taken in (128, 512, 512, 512):
        parts += [nn.Linear(taken, 512), nn.BatchNorm1d(512, _EPS, affine=False), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(512, 64))
