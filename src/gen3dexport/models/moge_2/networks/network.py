"""MoGe-2's network: the names of the released tensors, and its forward at any picture size.

Source: Wang et al. 2025, "MoGe-2: Accurate Monocular Geometry with Metric Scale and Sharp Details".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.models.moge_2.host.model import Model, Stack
from gen3dexport.networks.dinov2 import Dinov2, Dinov2Taps, TableRule
from gen3dexport.networks.half_precision import HalfBlocks

LEVELS = 5
HEADS = {"points_head": "points", "normal_head": "normal", "mask_head": "mask"}
"""The heads, and what the built network calls their results."""


class EdgeConvolution(nn.Conv2d):
    """A 3x3 convolution whose border repeats the map's edge, by copies, which every backend has."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x[..., :1, :], x, x[..., -1:, :]], -2)
        return super().forward(torch.cat([x[..., :1], x, x[..., -1:]], -1))


class ResidualBlock(nn.Module):
    """x + two convolutions of it, each after a ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({"2": EdgeConvolution(width, width), "5": EdgeConvolution(width, width)})

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers["5"](F.relu(self.layers["2"](F.relu(x))))  # type: ignore[no-any-return]


class Upsample(nn.Module):
    """Twice the size: a transposed convolution or bilinear interpolation, then a convolution."""

    def __init__(self, inputs: int, outputs: int, learned: bool) -> None:
        super().__init__()
        first = nn.ConvTranspose2d(inputs, outputs, 2, stride=2) if learned else nn.Identity()
        self.learned = learned
        self.add_module("0", first)
        self.add_module("1", EdgeConvolution(outputs if learned else inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        if self.learned:
            x = self.get_submodule("0")(x)
        else:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return self.get_submodule("1")(x)  # type: ignore[no-any-return]


class ConvStack(nn.Module):
    """Five levels from coarse to fine; a level takes the one below at twice its size, and features of its own."""

    def __init__(self, config: Stack) -> None:
        super().__init__()
        widths = config.dim_res_blocks
        self.input_blocks = nn.ModuleList(_one(a, b) for a, b in zip(config.dim_in, widths, strict=True))
        self.resamplers = nn.ModuleList(
            Upsample(widths[i], widths[i + 1], config.resamplers[i] == "conv_transpose") for i in range(LEVELS - 1)
        )
        self.res_blocks = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(width) for _ in range(count)))
            for width, count in zip(widths, config.num_res_blocks, strict=True)
        )
        outputs = config.dim_out or (None,) * LEVELS
        self.output_blocks = nn.ModuleList(
            nn.Identity() if out is None else _one(width, out) for width, out in zip(widths, outputs, strict=True)
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        found, x = [], None
        for level in range(LEVELS):
            own = self.input_blocks[level](features[level])
            x = self.res_blocks[level](own if x is None else self.resamplers[level - 1](x) + own)
            found.append(self.output_blocks[level](x))
        return found


def _one(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1)


class Encoder(nn.Module):
    """The released tensors of the encoder; it has no forward of its own."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        vit = model.vit
        self.backbone = Dinov2(vit.embed_dim, vit.depth, vit.num_heads, vit.img_size // vit.patch_size, vit.patch_size)
        self.output_projections = nn.ModuleList(_one(vit.embed_dim, model.encoder.dim_out) for _ in model.taps)
        for name in ("image_mean", "image_std"):
            self.register_buffer(name, torch.zeros(1, 3, 1, 1))


class Released(nn.Module):
    """The released tensors by their names; it has no forward of its own."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.encoder = Encoder(model)
        self.neck = ConvStack(model.neck)
        for name in model.heads:
            setattr(self, name, ConvStack(getattr(model, name)))
        if model.scale_head is not None:
            layers: list[nn.Module] = []
            for a, b in zip(model.scale_head.dims, model.scale_head.dims[1:], strict=False):
                layers += [nn.Linear(a, b), nn.ReLU()]
            self.scale_head = nn.Sequential(*layers[:-1])


class GeometryNetwork(HalfBlocks):
    """Raw maps of a picture [B, 3, 14 h, 14 w] in ImageNet's normalisation, and `span` [2].

    `span` is where the picture's right and lower edge lie, with half its diagonal as 1. Maps are [B, C, 16 h, 16 w]:
    points (3), normals (3), mask (1), before their activations; and the metric scale [B, 1], where the model has them.
    """

    halved = "encoder"

    def __init__(self, released: Released, model: Model, grid: tuple[int, int], rule: TableRule) -> None:
        """Takes the parts of `released`; `grid` is the patches down and across."""
        super().__init__()
        self.grid = grid
        self.encoder = Dinov2Taps(released.encoder.backbone, model.taps, grid, rule)
        self.projections = released.encoder.output_projections
        self.neck = released.neck
        self.heads = nn.ModuleDict({name: released.get_submodule(name) for name in model.heads})
        self.scale_head = getattr(released, "scale_head", None)
        for level in range(LEVELS):
            self.register_buffer(f"places{level}", places(*(edge << level for edge in grid)), persistent=False)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what forward returns."""
        return (*(HEADS[name] for name in self.heads), *(("metric_scale",) if self.scale_head is not None else ()))

    def steps(self, image: Tensor, span: Tensor) -> dict[str, Tensor]:
        """All that is on the way to the results, and these, by name."""
        tokens = self.encoder(image)
        maps = [taken[:, 1:].mT.unflatten(2, self.grid) for taken in tokens]
        encoded = torch.stack([project(m) for project, m in zip(self.projections, maps, strict=True)]).sum(0)
        uv = [self.get_buffer(f"places{level}") * span[:, None, None] for level in range(LEVELS)]
        uv = [level.expand(len(image), -1, -1, -1) for level in uv]
        neck = self.neck([torch.cat([encoded, uv[0]], 1), *uv[1:]])
        found = {"encoder": encoded, "cls": tokens[-1][:, 0]}
        found |= {f"neck_{k}": value for k, value in enumerate(neck)}
        found |= {HEADS[name]: head(neck)[-1] for name, head in self.heads.items()}
        if self.scale_head is not None:
            found["metric_scale"] = self.scale_head(found["cls"]).exp()
        return found

    def forward(self, image: Tensor, span: Tensor) -> tuple[Tensor, ...]:
        found = self.steps(image, span)
        return tuple(found[name] for name in self.outputs)


def places(height: int, width: int) -> Tensor:
    """Pixel centres [1, 2, H, W] across and down, the picture's edges at -1 and 1."""
    across, down = (torch.arange(1 - n, n, 2, dtype=torch.float64) / n for n in (width, height))
    rows, columns = torch.meshgrid(down, across, indexing="ij")
    return torch.stack([columns, rows])[None].float()
