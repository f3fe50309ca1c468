"""The image encoder: DINOv2 (Oquab et al. 2023) whose norms a camera modulates; tokens of a picture.

`ImageTokenizer` holds the released tensors by their names. `ImageEncoder` is what is built, for one picture size: the
position table is resampled once, and for one camera the modulations become weights of the norms.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.models.normalisation import IMAGENET
from gen3dexport.models.sf3d.host import parts
from gen3dexport.models.sf3d.networks.attention import attend
from gen3dexport.networks.dinov2 import TableRule, resampled
from gen3dexport.networks.half_precision import FloatNorm, HalfBlocks


class _Scale(nn.Module):
    """A learned factor for each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lambda1 = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.lambda1


class _Modulation(nn.Module):
    """Scale and shift of a norm's result by a condition [B, D] that has been through SiLU."""

    def __init__(self, condition: int, width: int) -> None:
        super().__init__()
        self.linear2 = nn.Linear(condition, 2 * width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.linear2(condition)[:, None].chunk(2, -1)
        return (x * (1 + scale) + shift).to(x.dtype)  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Attention and MLP, each after a modulated norm, scaled and added to its input."""

    def __init__(self, config: parts.ImageTokenizer) -> None:
        super().__init__()
        width, self.heads = config.hidden_size, config.num_attention_heads
        self.norm1, self.norm2 = (FloatNorm(width, eps=config.layer_norm_eps) for _ in range(2))
        self.norm1_modulation: nn.Module | None = _Modulation(config.modulation_cond_dim, width)
        self.norm2_modulation: nn.Module | None = _Modulation(config.modulation_cond_dim, width)
        rows = {name: nn.Linear(width, width) for name in ("query", "key", "value")}
        output = nn.ModuleDict({"dense": nn.Linear(width, width)})
        self.attention = nn.ModuleDict({"attention": nn.ModuleDict(rows), "output": output})
        inner = config.mlp_ratio * width
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, inner), "fc2": nn.Linear(inner, width)})
        self.layer_scale1: nn.Module = _Scale(width)
        self.layer_scale2: nn.Module = _Scale(width)

    def modulated(self, number: int, x: Tensor, condition: Tensor | None) -> Tensor:
        """The result of norm 1 or 2 for tokens [B, T, C]."""
        x = self.get_submodule(f"norm{number}")(x)
        modulation: nn.Module | None = getattr(self, f"norm{number}_modulation")
        return x if modulation is None else modulation(x, condition)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        rows = self.attention["attention"]
        n = self.modulated(1, x, condition)
        q, k, v = (rows.get_submodule(name)(n) for name in ("query", "key", "value"))
        x = x + self.layer_scale1(self.attention["output"].get_submodule("dense")(attend(q, k, v, self.heads)))
        hidden = F.gelu(self.mlp["fc1"](self.modulated(2, x, condition)))
        return x + self.layer_scale2(self.mlp["fc2"](hidden))  # type: ignore[no-any-return]

    def fold_scales(self) -> None:
        """Put the factors of both branches into the layers before them, once."""
        pairs = (("layer_scale1", self.attention["output"].get_submodule("dense")), ("layer_scale2", self.mlp["fc2"]))
        for name, layer in pairs:
            scale = getattr(self, name)
            assert isinstance(scale, _Scale) and isinstance(layer, nn.Linear)
            factor = scale.lambda1.detach()
            layer.weight = _fixed(layer.weight * factor[:, None])
            layer.bias = _fixed(layer.bias * factor)
            setattr(self, name, nn.Identity())

    def fold_condition(self, condition: Tensor) -> None:
        """Put the modulation by one condition [D], which has been through SiLU, into the norms."""
        for name in ("norm1", "norm2"):
            norm, modulation = self.get_submodule(name), getattr(self, f"{name}_modulation")
            assert isinstance(norm, FloatNorm) and isinstance(modulation, _Modulation)
            scale, shift = modulation.linear2(condition).chunk(2)
            norm.weight = _fixed(norm.weight * (1 + scale))
            norm.bias = _fixed(norm.bias * (1 + scale) + shift)
            setattr(self, f"{name}_modulation", None)


def _fixed(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.detach(), requires_grad=False)


class ImageTokenizer(nn.Module):
    """The released tensors of the encoder, under `model.`; it has no forward of its own."""

    def __init__(self, config: parts.ImageTokenizer) -> None:
        super().__init__()
        width, patch = config.hidden_size, config.patch_size
        embeddings = nn.Module()
        embeddings.cls_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        embeddings.position_embeddings = nn.Parameter(torch.randn(1, 1 + config.table_edge**2, width) * 0.02)
        embeddings.mask_token = nn.Parameter(torch.zeros(1, width))  # of training; nothing here reads it
        embeddings.patch_embeddings = nn.ModuleDict({"projection": nn.Conv2d(3, width, patch, patch)})
        layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        norm = FloatNorm(width, eps=config.layer_norm_eps)
        encoder = nn.ModuleDict({"layer": layers})
        self.model = nn.ModuleDict({"embeddings": embeddings, "encoder": encoder, "layernorm": norm})


class ImageEncoder(HalfBlocks):
    """Tokens [B, 1 + patches, C] of pictures [B, 3, S, S] in [0, 1]: class token, then the patches row by row.

    A camera's embedding [B, D] is a second input until `fold_camera` has made it part of the weights.
    """

    stack = "layers"
    halved = "layers"

    def __init__(self, released: ImageTokenizer, size: int, rule: TableRule = "factor") -> None:
        """Takes the parts of `released`; `size` is S, whose last pixels may fill no patch."""
        super().__init__()
        model = released.model
        projection = model.get_submodule("embeddings.patch_embeddings.projection")
        layers = model.get_submodule("encoder.layer")
        assert isinstance(projection, nn.Conv2d) and isinstance(layers, nn.ModuleList)
        self.projection, self.layers, self.norm = projection, layers, model["layernorm"]
        count = size // projection.kernel_size[0]
        table = resampled(model.get_parameter("embeddings.position_embeddings").detach(), (count, count), rule)
        self.first = _fixed(model.get_parameter("embeddings.cls_token") + table[:, :1])
        self.positions = _fixed(table[:, 1:].clone())
        self.register_buffer("mean", torch.tensor(IMAGENET.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(IMAGENET.std)[:, None, None])
        for layer in layers:
            assert isinstance(layer, Layer)
            layer.fold_scales()

    def fold_camera(self, embedding: Tensor) -> None:
        """Make one camera's embedding [D] part of the weights."""
        for layer in self.layers:
            assert isinstance(layer, Layer)
            layer.fold_condition(F.silu(embedding))

    def before(self, image: Tensor, camera: Tensor | None = None) -> tuple[Tensor, ...]:
        """Tokens [B, T, C] of pictures in the layers' dtype, and the condition of their norms where it is an input."""
        patches = self.projection((image - self.get_buffer("mean")) / self.get_buffer("std"))
        tokens = patches.flatten(2).mT + self.positions
        x = torch.cat([self.first.expand(len(image), -1, -1), tokens], 1).to(self.block_dtype)
        return (x,) if camera is None else (x, F.silu(camera).to(self.block_dtype))

    def after(self, x: Tensor) -> Tensor:
        """The last tokens, normed."""
        return self.norm(x.float())  # type: ignore[no-any-return]

    def forward(self, image: Tensor, camera: Tensor | None = None) -> Tensor:
        x, *condition = self.before(image, camera)
        for layer in self.layers:
            x = layer(x, *condition)
        return self.after(x)
