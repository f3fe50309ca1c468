"""Linear layers made of stored tensors, and of convolutions that are linear layers of pixels or of patches."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def linear_of(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """The layer of a weight [out, in] and a bias [out]; it shares what is contiguous."""
    with torch.device("meta"):  # its weights are replaced at once
        made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    made.weight = nn.Parameter(weight.detach().contiguous(), requires_grad=False)
    if bias is not None:
        made.bias = nn.Parameter(bias.detach().contiguous(), requires_grad=False)
    return made


def as_linear(convolution: nn.Module) -> nn.Linear:
    """A convolution whose stride is its kernel as a linear layer of `patches`; a 1 x 1 one as a layer of pixels."""
    assert isinstance(convolution, nn.Conv2d)
    return linear_of(convolution.weight.flatten(1), convolution.bias)


def patches(image: Tensor, edge: int) -> Tensor:
    """Patches [B, L, C * edge^2] of a picture [B, C, H, W], row by row."""
    batch, channels, height, width = image.shape
    cut = image.reshape(batch, channels, height // edge, edge, width // edge, edge).permute(0, 2, 4, 1, 3, 5)
    return cut.reshape(batch, -1, channels * edge * edge)
