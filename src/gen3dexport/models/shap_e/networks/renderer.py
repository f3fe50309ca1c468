"""Shap-E's implicit functions: latents to the weights of an MLP, and that MLP at points. Published names.

`Layers` and `Query` are what is built of the released tensors. The published class copies the weights that
it makes into its own parameters; here they are inputs. Source: Jun and Nichol 2023, "Shap-E".
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.models.shap_e.host.model import (
    COLOR,
    DIRECTION_FEATURES,
    POSITION_DEGREES,
    POSITION_FEATURES,
    SDF,
)
from gen3dexport.models.shap_e.host.model import Renderer as Config
from gen3dexport.networks.linear_layers import linear_of


class Projection(nn.Module):
    """Rows [B, R, C] of a layer of its latents [B, R, D]: each row has a matrix of its own."""

    def __init__(self, rows: int, channels: int, latent: int) -> None:
        super().__init__()
        self.rows, self.channels = rows, channels
        self.proj = nn.Linear(latent, rows * channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, z: Tensor) -> Tensor:
        weight = self.proj.weight.view(self.rows, self.channels, -1)
        made = (weight[None] @ z.to(weight.dtype)[..., None])[..., 0]
        return self.norm(made.float()) + self.proj.bias.view(self.rows, self.channels)  # type: ignore[no-any-return]


class Parts(nn.Module):
    """Modules under the released names; it has no forward of its own."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


class Released(nn.Module):
    """The released tensors; it has no forward of its own."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        made = {
            f"nerstf__mlp__{k}__weight": Projection(*shape, config.d_latent)
            for k, shape in enumerate(config.param_shapes)
        }
        self.params_proj = Parts(projections=nn.ModuleDict(made))
        width, inputs = config.d_hidden, [POSITION_FEATURES] + [config.d_hidden] * config.n_hidden_layers
        inputs[config.insert_direction_at] += DIRECTION_FEATURES
        outputs = [width] * config.n_hidden_layers + [config.n_output]
        layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(inputs, outputs, strict=True))
        self.mlp = Parts(mlp=layers)
        self.void = Parts()
        self.void.register_buffer("background", torch.tensor(config.background))
        self.mesh_decoder = Parts()
        self.mesh_decoder.register_buffer("cases", torch.zeros(256, 5, 3, dtype=torch.long))
        self.mesh_decoder.register_buffer("masks", torch.zeros(256, 5, dtype=torch.bool))


class Layers(nn.Module):
    """The weights of the first layer [B, R, 93] and of those after it [B, K, R, R] of latents [B, N, D]: N is all their
    rows."""

    def __init__(self, released: Released) -> None:
        """Takes the parts of `released` that it needs."""
        super().__init__()
        made = released.params_proj.get_submodule("projections")
        assert isinstance(made, nn.ModuleDict)
        self.projections = nn.ModuleList(made.values())

    def set_block_dtype(self, dtype: torch.dtype) -> None:
        """Multiply latents in `dtype`; norms and biases stay float32."""
        for layer in self.projections:
            assert isinstance(layer, Projection)
            layer.proj.weight = nn.Parameter(layer.proj.weight.detach().to(dtype), requires_grad=False)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        found, start = [], 0
        for layer in self.projections:
            assert isinstance(layer, Projection)
            found.append(layer(latents[:, start : start + layer.rows]))
            start += layer.rows
        return found[0], torch.stack(found[1:], 1)


def position_features(points: Tensor) -> Tensor:
    """Features [..., 93] of points [..., 3]: themselves, sines of 2^k x (all three axes of
    a frequency side by side), and the same a quarter turn on."""
    frequencies = 2.0 ** torch.arange(POSITION_DEGREES, dtype=torch.float32, device=points.device)
    angles = (frequencies[:, None] * points[..., None, :]).flatten(-2)
    return torch.cat([points, angles.sin(), (angles + math.pi / 2).sin()], -1)


class Query(nn.Module):
    """What the implicit function has at points [B, P, 3] in [-1, 1]^3, under the weights that `Layers` makes.

    That is the distance [B, P, 1] in (-1, 1), above 0 inside, or the surface's colour [B, P, 3] in (0, 1), as displays
    take it (sRGB).

    Directions are all zero in the released code where a mesh is made, so that their columns are left out.
    """

    def __init__(self, released: Released, config: Config, asked: Literal["distance", "color"]) -> None:
        """Takes the parts of `released` that it needs."""
        super().__init__()
        channels, self.end = (SDF, torch.tanh) if asked == "distance" else (COLOR, torch.sigmoid)
        own = released.mlp.get_submodule("mlp")
        assert isinstance(own, nn.ModuleList)
        self.made, width = len(config.param_shapes), config.d_hidden
        layers = [layer for layer in own if isinstance(layer, nn.Linear)]
        self.biases = nn.ParameterList(layer.bias.detach() for layer in layers[: self.made])
        self.layers = nn.ModuleList(_columns(layer, slice(0, width)) for layer in layers[self.made : -1])
        last = _rows(layers[-1], channels)
        self.layers.append(_columns(last, slice(0, width)))
        for parameter in self.parameters():
            parameter.requires_grad_(False)

    def forward(self, first: Tensor, rest: Tensor, points: Tensor) -> Tensor:
        x = position_features(points)
        for weight, bias in zip((first, *rest.unbind(1)), self.biases, strict=True):
            x = F.silu(x @ weight.transpose(1, 2) + bias)
        *middle, last = self.layers
        for layer in middle:
            x = F.silu(layer(x))
        return self.end(last(x))


def _columns(layer: nn.Linear, columns: slice) -> nn.Linear:
    """A layer that takes some of what `layer` takes."""
    return linear_of(layer.weight[:, columns], layer.bias)


def _rows(layer: nn.Linear, rows: slice) -> nn.Linear:
    """A layer that gives some of what `layer` gives."""
    return linear_of(layer.weight[rows], layer.bias[rows])
