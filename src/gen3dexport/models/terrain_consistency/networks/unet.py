"""The U-Net (Dhariwal and Nichol 2021, in the form of Song et al. 2023): a noisy map to the map without noise."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.models.terrain_consistency.host.model import NETWORK, Model, Part, layout
from gen3dexport.models.terrain_consistency.networks.norm import GroupNorm


class Residual(nn.Module):
    """Two convolutions beside the input; what noise and difficulty say scales and shifts between them."""

    def __init__(self, part: Part, model: Model) -> None:
        super().__init__()
        taken, given = part.taken, part.given
        self.resample = part.resample
        self.norm1 = GroupNorm(taken, model.groups)
        self.conv1 = nn.Conv2d(taken, given, 3, padding=1)
        self.emb = nn.Linear(model.embedding, 2 * given)
        self.norm2 = GroupNorm(given, model.groups)
        self.conv2 = nn.Conv2d(given, given, 3, padding=1)
        self.skip = nn.Conv2d(taken, given, 1) if taken != given else nn.Identity()

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h = F.silu(self.norm1(x))
        if self.resample:
            h, x = (_resampled(t, self.resample) for t in (h, x))
        scale, shift = self.emb(emb).chunk(2, -1)
        h = F.silu(self.norm2(self.conv1(h), scale, shift))
        return self.skip(x) + self.conv2(h)  # type: ignore[no-any-return]


def _resampled(x: Tensor, how: str) -> Tensor:
    return F.avg_pool2d(x, 2) if how == "down" else F.interpolate(x, scale_factor=2.0, mode="nearest")


class Attention(nn.Module):
    """Every cell attends to every other, beside the input."""

    def __init__(self, part: Part, model: Model) -> None:
        super().__init__()
        self.heads = part.taken // model.head_channels
        self.norm = GroupNorm(part.taken, model.groups)
        self.qkv = nn.Linear(part.taken, 3 * part.taken)
        self.proj_out = nn.Linear(part.taken, part.taken)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        cells = self.norm(x).flatten(2).mT
        q, k, v = self.qkv(cells).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x + self.proj_out(attended).mT.unflatten(2, x.shape[2:])  # type: ignore[no-any-return]


def _made(part: Part, model: Model) -> nn.Module:
    return Residual(part, model) if part.kind == "residual" else Attention(part, model)


class Terrain(nn.Module):
    """Maps [B, 1, S, S] in [-1, 1] of noisy ones, the noise's waves [B, E], a label [B, 1] and scalings [B, 3].

    See `host.conditioning` for these.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        inner, first, parts = model.embedding, model.channels[0], layout(model)
        self.time_embed = nn.ModuleDict({"0": nn.Linear(2 * model.frequencies, inner), "2": nn.Linear(inner, inner)})
        self.label_emb = nn.ModuleDict({"0": nn.Linear(1, inner), "2": nn.Linear(inner, inner)})
        self.first = nn.Conv2d(1, first, 3, padding=1)
        self.down = nn.ModuleList(nn.ModuleList(_made(part, model) for part in block) for block in parts.down)
        self.middle = nn.ModuleList(_made(part, model) for part in parts.middle)
        self.up = nn.ModuleList(nn.ModuleList(_made(part, model) for part in block) for block in parts.up)
        self.norm = GroupNorm(first, model.groups)
        self.last = nn.Conv2d(first, 1, 3, padding=1)

    def embedded(self, waves: Tensor, label: Tensor) -> Tensor:
        """The embedding [B, inner] of noise and difficulty."""
        time, difficulty = self.time_embed, self.label_emb
        noise = time["2"](F.silu(time["0"](waves)))
        return noise + difficulty["2"](F.silu(difficulty["0"](label)))  # type: ignore[no-any-return]

    def encoded(self, x: Tensor, emb: Tensor) -> list[Tensor]:
        """What every block of the way down gives, the first convolution's result first."""
        kept = [self.first(x)]
        for block in self.down:
            x = kept[-1]
            for part in _parts(block):
                x = part(x, emb)
            kept.append(x)
        return kept

    def between(self, x: Tensor, emb: Tensor) -> Tensor:
        """The middle."""
        for part in self.middle:
            x = part(x, emb)
        return x

    def decoded(self, x: Tensor, kept: list[Tensor], emb: Tensor) -> Tensor:
        """The way up."""
        for block, beside in zip(self.up, reversed(kept), strict=True):
            x = torch.cat([x, beside], 1)
            for part in _parts(block):
                x = part(x, emb)
        return self.last(F.silu(self.norm(x)))  # type: ignore[no-any-return]

    def forward(self, noisy: Tensor, waves: Tensor, label: Tensor, scalings: Tensor) -> Tensor:
        taken, given, skipped = scalings[:, :, None, None].split(1, 1)  # type: ignore[no-untyped-call]
        emb = F.silu(self.embedded(waves, label))
        kept = self.encoded(taken * noisy, emb)
        made = self.decoded(self.between(kept[-1], emb), kept, emb)
        return torch.clamp(given * made + skipped * noisy, -1, 1)


def _parts(block: nn.Module) -> nn.ModuleList:
    assert isinstance(block, nn.ModuleList)
    return block


_RESIDUAL = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "emb",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "skip",
}


def from_released(model: Model, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a `Terrain` from the released tensors."""
    names = {"input_blocks.0.0": "first", "out.0": "norm", "out.2": "last"}
    parts = layout(model)
    blocks = [("down", block) for block in parts.down], [("up", block) for block in parts.up]
    placed = [
        (f"{way}.{i}.{j}", part)
        for group in blocks
        for i, (way, block) in enumerate(group)
        for j, part in enumerate(block)
    ]
    for place, part in [*placed, *((f"middle.{i}", part) for i, part in enumerate(parts.middle))]:
        for theirs, ours in _RESIDUAL.items() if part.kind == "residual" else ():
            names[f"{part.name}.{theirs}"] = f"{place}.{ours}"
        if part.kind == "attention":
            names |= {f"{part.name}.{name}": f"{place}.{name}" for name in ("norm", "qkv", "proj_out")}
    found = {}
    for name, value in state.items():
        module, _, kind = name.removeprefix(NETWORK).rpartition(".")
        linear = module.endswith((".qkv", ".proj_out")) and kind == "weight"  # 1x1 convolutions, as linear layers
        found[f"{names.get(module, module)}.{kind}"] = value.flatten(1) if linear else value
    return found
