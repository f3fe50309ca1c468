"""3-D convolutions as 2-D convolutions: the taps along depth become input channels, the depth becomes batch.

XNNPACK has no 3-D convolution, and ExecuTorch's kernels fail on one at run time. With T taps along depth,

    y[b, o, z] = sum_t conv2d(x[b, :, z*stride + t*dilation - padding], w[o, :, t])
               = conv2d(concatenation over t of those slices, w as [O, T*C, kh, kw])

so one 2-D convolution over a batch of B*Dout computes all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dexport.backends.executorch.sites import Rule, Site
from gen3dexport.quantization.int8_convolution import pads_of

aten = torch.ops.aten


def constants(name: str, weight: Tensor) -> dict[str, Tensor]:
    """The 2-D kernel [O, T*C, kh, kw] of a 3-D kernel [O, C, T, kh, kw] (C: channels of one group)."""
    if weight.dim() != 5:
        return {}
    return {f"{name}_kernel": kernel_2d(weight.detach())}


def kernel_2d(weight: Tensor) -> Tensor:
    """The 2-D kernel [O, T*C, kh, kw] of a 3-D one [O, C, T, kh, kw]."""
    return weight.transpose(1, 2).flatten(1, 2).contiguous()


def conv3d(
    site: Site,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1, 1, 1),
    padding: Sequence[int] | str = (0, 0, 0),
    dilation: Sequence[int] = (1, 1, 1),
    groups: int = 1,
) -> Tensor:
    """Convolution of x [B, C, D, H, W] or [C, D, H, W] with weight [O, C/groups, T, kh, kw]."""
    if x.dim() == 4:
        return conv3d(site, x[None], weight, bias, stride, padding, dilation, groups).flatten(0, 1)
    stride, dilation = _three(stride), _three(dilation)
    h, padding_2d, depth = lay_out(
        x, weight.shape[2], stride, pads_of(padding, weight.shape[2:], dilation), dilation, groups
    )
    kernel = site.constants[f"{site.node.name}_kernel"]
    return as_3d(F.conv2d(h, kernel, bias, tuple(stride[1:]), padding_2d, tuple(dilation[1:]), groups), depth)


def lay_out(
    x: Tensor,
    taps: int,
    stride: Sequence[int],
    pads: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    groups: int,
) -> tuple[Tensor, tuple[int, int], int]:
    """x [B, C, D, H, W] as a 2-D convolution's input [B*Dout, T*C, H, W], that convolution's padding, and Dout."""
    batch, channels, _, height, width = x.shape
    # [B, D, C, H*W]: from here on depth is an axis that slices and merges with the batch.
    h = x.flatten(3).transpose(1, 2)
    if any(pads[0]):
        h = F.pad(h, (0, 0, 0, 0, *pads[0]))
    depth = (h.shape[1] - dilation[0] * (taps - 1) - 1) // stride[0] + 1
    if taps == stride[0] and dilation[0] == 1:  # slabs that do not overlap: no copy for each tap
        slabs = h[:, : depth * taps].reshape(batch * depth, taps, groups, -1)
        h = slabs.transpose(1, 2) if groups > 1 and taps > 1 else slabs
    elif taps > 1:
        ends = [t * dilation[0] + (depth - 1) * stride[0] + 1 for t in range(taps)]
        slices = [h[:, t * dilation[0] : end : stride[0]] for t, end in enumerate(ends)]
        if groups > 1:  # the channels of one group stay together
            slices = [s.reshape(batch, depth, groups, -1) for s in slices]
        h = torch.cat(slices, -1 if groups > 1 else 2)
    elif stride[0] > 1:
        h = h[:, :: stride[0]]
    h = h.reshape(batch * depth, taps * channels, height, width)
    (top, bottom), (left, right) = pads[1:]
    if top != bottom or left != right:
        h, top, left = F.pad(h, (left, right, top, bottom)), 0, 0
    return h, (top, left), depth


def as_3d(out: Tensor, depth: int) -> Tensor:
    """The 2-D convolution's output [B*Dout, O, H, W] as the 3-D one's [B, O, Dout, H, W]."""
    _, channels, *size = out.shape
    h = out.reshape(-1, depth, channels, size[0] * size[1]).transpose(1, 2)
    return h.reshape(-1, channels, depth, *size)


def convolution(
    site: Site,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Any:
    """The general operator: its 3-D forward case."""
    if weight.dim() != 5 or transposed:
        return NotImplemented
    return conv3d(site, x, weight, bias, stride, padding, dilation, groups)


def _three(value: Sequence[int]) -> tuple[int, ...]:
    return tuple(value) * 3 if len(value) == 1 else tuple(value)


RULES: dict[object, Rule] = {
    aten.conv3d.default: conv3d,
    aten.conv3d.padding: conv3d,
    aten.convolution.default: convolution,
}
