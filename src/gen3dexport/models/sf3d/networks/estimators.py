"""What is estimated of the whole: a picture's material, from CLIP's vector; illumination, from the planes.

Names of the released tensors. Source: Boss et al. 2024, "Stable Fast 3D".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.models.sf3d.host import parts
from gen3dexport.models.sf3d.networks.clip import ClipPicture
from gen3dexport.networks.half_precision import HalfBlocks


def _layers(width: int, count: int) -> list[nn.Module]:
    """`count` times a linear layer and ReLU."""
    return [layer for _ in range(count) for layer in (nn.Linear(width, width), nn.ReLU())]


class MaterialHeads(nn.Module):
    """Parameters alpha and beta [B, H, 2] of each head's beta distribution, of vectors [B, E]."""

    def __init__(self, config: parts.ImageEstimator) -> None:
        super().__init__()
        width = config.hidden_features
        self.heads = nn.ModuleDict()
        self.bias = tuple(head.output_bias for head in config.heads)
        for head in config.heads:
            shared = nn.Sequential(*_layers(width, head.n_hidden_layers))
            branches = [nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)) for _ in range(2)]
            self.heads[head.name] = nn.ModuleList([shared, *branches])

    def forward(self, vector: Tensor) -> Tensor:
        made = []
        for head, bias in zip(self.heads.values(), self.bias, strict=True):
            shared, *branches = head.children()
            hidden = shared(vector)
            made.append(F.softplus(torch.cat([branch(hidden) for branch in branches], -1) + bias))
        return torch.stack(made, 1)


class Material(HalfBlocks):
    """Parameters of the material's beta distributions [B, H, 2] of pictures [B, 3, S, S] in [0, 1] on black."""

    stack = "picture.blocks"
    halved = "picture"

    def __init__(self, picture: ClipPicture, heads: MaterialHeads) -> None:
        super().__init__()
        self.picture, self.heads = picture, heads

    def before(self, image: Tensor) -> tuple[Tensor]:
        """CLIP's tokens of pictures, in its blocks' dtype."""
        return self.picture.before(image)

    def after(self, x: Tensor) -> Tensor:
        """The parameters of the last tokens."""
        return self.heads(self.picture.after(x))  # type: ignore[no-any-return]

    def forward(self, image: Tensor) -> Tensor:
        return self.heads(self.picture(image))  # type: ignore[no-any-return]


class GlobalEstimator(nn.Module):
    """One tensor for each head, of planes [B, 3, C, P, P] before they are upsampled."""

    def __init__(self, config: parts.GlobalEstimator) -> None:
        super().__init__()
        self.config, width = config, config.hidden_features
        layers: list[nn.Module] = []
        for i in range(config.n_layers):
            layers += [nn.Conv2d(width if i else 3 * config.triplane_features, width, 3, stride=2), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.heads = nn.ModuleDict(
            {
                head.name: nn.Sequential(*_layers(width, head.n_hidden_layers), nn.Linear(width, head.out_channels))
                for head in config.heads
            }
        )

    def forward(self, planes: Tensor) -> tuple[Tensor, ...]:
        pooled = self.layers(planes.flatten(1, 2)).amax((-2, -1))
        made = []
        for head in self.config.heads:
            raw = activated(self.heads[head.name](pooled) + head.output_bias, head.output_activation)
            made.append(raw if head.shape is None else raw.reshape(_batched(head.shape, len(raw))))
        return tuple(made)


def _batched(shape: Sequence[int], batch: int) -> list[int]:
    return [batch if size == -1 else size for size in shape]


def activated(raw: Tensor, activation: parts.Activation | None) -> Tensor:
    """Numbers of a head after its activation."""
    match activation:
        case "softplus":
            return F.softplus(raw)
        case "sigmoid":
            return torch.sigmoid(raw)
        case "exp" | "trunc_exp":
            return torch.exp(raw)
        case "normalize_channel_last":
            length: Tensor = torch.linalg.vector_norm(raw, dim=-1, keepdim=True)
            return raw / length.clamp(min=1e-7)
        case _:
            return raw
