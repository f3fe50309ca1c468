"""The decoder's upsampling by two: a transposed convolution (4x4, stride 2, padding 1), batch norm and ReLU, as one
linear layer per token and sums of its outputs.

An input pixel (i, j) gives its 16 taps to the outputs (2i - 1 + ky, 2j - 1 + kx). Along one axis an output of even
place 2m is tap 1 of pixel m plus tap 3 of pixel m - 1, one of odd place 2m + 1 is tap 2 of pixel m plus tap 0 of pixel
m + 1. So taps 1 and 2 are in every output once, whatever the border: they carry the bias. As a linear layer the
convolution takes the schemes of linear layers, and no backend needs a transposed one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TAPS = 4
_EPS = 1e-5  # of the batch norm


class _ReleasedNorm(nn.Module):
    """A batch norm's tensors, without the count of training's batches, which is not published."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))


class ReleasedDecoder(nn.Module):
    """The published tensors by their names; it has no forward of its own."""

    def __init__(self, widths: Sequence[int]) -> None:
        """`widths` are the channels into its first upsampling and out of each."""
        super().__init__()
        for i, (taken, given) in enumerate(itertools.pairwise(widths), 1):
            self.add_module(f"upconv{i}", nn.ConvTranspose2d(taken, given, TAPS, stride=2, padding=1))
            self.add_module(f"bn{i}", _ReleasedNorm(given))
        self.final_conv = nn.Conv2d(widths[-1], 1, 1)


class Upsampling(nn.Module):
    """Tokens [B, E * E, C] of a square row by row -> [B, 2E * 2E, C'], not negative."""

    def __init__(self, taken: int, given: int) -> None:
        super().__init__()
        self.given = given
        self.linear = nn.Linear(taken, TAPS * TAPS * given)

    def forward(self, x: Tensor, edge: int) -> Tensor:
        taps = self.linear(x).unflatten(1, (edge, edge)).unflatten(-1, (TAPS, TAPS * self.given))
        rows = _interleaved(taps, 1).unflatten(-1, (TAPS, self.given))  # type: ignore[no-untyped-call]
        return F.relu(_interleaved(rows, 2).flatten(1, 2))


def _interleaved(taps: Tensor, axis: int) -> Tensor:
    """Sums along an axis of pixels, of taps [B, H, W, 4, C]: [B, 2H, W, C] for axis 1, [B, H, 2W, C] for axis 2."""
    first, second, third, fourth = (tap.squeeze(3) for tap in taps.split(1, 3))  # type: ignore[no-untyped-call]
    count = taps.shape[axis]
    before, after = ((0, 0) * (3 - axis) + ends for ends in ((1, 0), (0, 1)))
    even = second + F.pad(fourth.narrow(axis, 0, count - 1), before)
    odd = third + F.pad(first.narrow(axis, 1, count - 1), after)
    return torch.stack([even, odd], axis + 1).flatten(axis, axis + 1)


def folded(released: ReleasedDecoder, index: int) -> dict[str, Tensor]:
    """The parameters of the index-th `Upsampling`, from 1."""
    given = {name: value.double() for name, value in released.state_dict().items()}
    norm, convolution = f"bn{index}", f"upconv{index}"
    factor = given[f"{norm}.weight"] / torch.sqrt(given[f"{norm}.running_var"] + _EPS)
    weight = given[f"{convolution}.weight"] * factor[:, None, None]  # [in, out, ky, kx]
    bias = (given[f"{convolution}.bias"] - given[f"{norm}.running_mean"]) * factor + given[f"{norm}.bias"]
    always = torch.zeros(TAPS, TAPS, len(bias), dtype=torch.float64, device=bias.device)
    always[1:3, 1:3] = bias
    return {
        "linear.weight": weight.permute(2, 3, 1, 0).flatten(0, 2).float(),
        "linear.bias": always.flatten().float(),
    }
