"""Hunyuan3D-2's flow: the velocity of a set of latent vectors beside a picture's tokens. Names of the released tensors.

Blocks of two streams, then of one, modulated by the time. Source: Zhao et al. 2025, "Hunyuan3D 2.0", after the
transformer of "FLUX.1" (Labs 2024).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.models.hunyuan3d_2.host.model import Transformer
from gen3dexport.networks.half_precision import StaysFloat32, set_dtype
from gen3dexport.networks.packed_heads import attend, by_head
from gen3dexport.networks.step_weights import StepWeights

_EPS = 1e-6
_FEATURES = 256


class Rms(StaysFloat32, nn.Module):
    """Root-mean-square norm of each head's channels, in float32, cast back to the incoming dtype."""

    def __init__(self, head_width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(head_width))

    def forward(self, x: Tensor) -> Tensor:
        y = x.float()
        return (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + _EPS) * self.scale).to(x.dtype)


def head_norms(head_width: int) -> nn.ModuleDict:
    """The norms of queries and keys."""
    return nn.ModuleDict({"query_norm": Rms(head_width), "key_norm": Rms(head_width)})


class Embedder(nn.Module):
    """A number's vector [B, W]: cosines and sines of 1000 times it, through two layers; float32."""

    def __init__(self, width: int, base: float) -> None:
        super().__init__()
        self.base = base
        self.in_layer, self.out_layer = nn.Linear(_FEATURES, width), nn.Linear(width, width)

    def forward(self, value: Tensor) -> Tensor:
        half = _FEATURES // 2
        steps = torch.arange(half, dtype=torch.float32, device=value.device)
        angles = 1000 * value.float()[:, None] * torch.exp(-math.log(self.base) * steps / half)
        features = torch.cat([angles.cos(), angles.sin()], -1)
        return self.out_layer(F.silu(self.in_layer(features)))  # type: ignore[no-any-return]


class Modulation(nn.Module):
    """`parts` vectors [B, 1, W] of the time's."""

    def __init__(self, width: int, parts: int) -> None:
        super().__init__()
        self.lin = nn.Linear(width, parts * width)

    def forward(self, vec: Tensor) -> Tensor:
        return self.lin(F.silu(vec))  # type: ignore[no-any-return]


def modulated(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """A plain layer norm in float32, scaled and shifted, in the incoming dtype."""
    return (F.layer_norm(x.float(), x.shape[-1:], eps=_EPS) * (1 + scale) + shift).to(x.dtype)


class DoubleBlock(nn.Module):
    """Attention over both streams, the condition's (txt) first, each with layers of its own; then an MLP for each."""

    def __init__(self, config: Transformer) -> None:
        super().__init__()
        width, inner, self.heads = config.hidden_size, int(config.hidden_size * config.mlp_ratio), config.num_heads
        for stream in ("img", "txt"):
            attention: dict[str, nn.Module] = {
                "qkv": nn.Linear(width, 3 * width, bias=config.qkv_bias),
                "norm": head_norms(width // config.num_heads),
                "proj": nn.Linear(width, width),
            }
            mlp = {"0": nn.Linear(width, inner), "2": nn.Linear(inner, width)}
            self.add_module(f"{stream}_mod", Modulation(width, 6))
            self.add_module(f"{stream}_attn", nn.ModuleDict(attention))
            self.add_module(f"{stream}_mlp", nn.ModuleDict(mlp))

    def forward(self, x: Tensor, cond: Tensor, vec: Tensor) -> tuple[Tensor, Tensor]:
        rows, streams = {"txt": cond, "img": x}, ("txt", "img")
        parts = {stream: self.get_submodule(f"{stream}_mod")(vec)[:, None].chunk(6, -1) for stream in streams}
        every = [self._queries_keys_values(stream, rows[stream], parts[stream]) for stream in streams]
        attended = attend(*(torch.cat(pair, 2) for pair in zip(*every, strict=True)))
        count = cond.shape[1]
        cond = self._finished("txt", cond, attended[:, :count], parts["txt"])
        return self._finished("img", x, attended[:, count:], parts["img"]), cond

    def _queries_keys_values(self, stream: str, x: Tensor, parts: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Each [B, H, T, d]; `parts` are shift, scale and gate of attention, then of the MLP."""
        attention = self.get_submodule(f"{stream}_attn")
        made = attention.get_submodule("qkv")(modulated(x, parts[1], parts[0]))
        q, k, v = (by_head(part, self.heads) for part in made.chunk(3, -1))
        return attention.get_submodule("norm.query_norm")(q), attention.get_submodule("norm.key_norm")(k), v

    def _finished(self, stream: str, x: Tensor, attended: Tensor, parts: Sequence[Tensor]) -> Tensor:
        """The stream after attention and MLP."""
        _, _, gate, shift, scale, gate_2 = parts
        mlp = self.get_submodule(f"{stream}_mlp")
        x = x + (gate * self.get_submodule(f"{stream}_attn.proj")(attended)).to(x.dtype)
        inner = F.gelu(mlp.get_submodule("0")(modulated(x, scale, shift)), approximate="tanh")
        made: Tensor = gate_2 * mlp.get_submodule("2")(inner)
        return x + made.to(x.dtype)


class SingleBlock(nn.Module):
    """Attention and MLP beside each other, over both streams as one."""

    def __init__(self, config: Transformer) -> None:
        super().__init__()
        width, self.heads = config.hidden_size, config.num_heads
        inner = int(width * config.mlp_ratio)
        self.linear1, self.linear2 = nn.Linear(width, 3 * width + inner), nn.Linear(width + inner, width)
        self.norm = head_norms(width // config.num_heads)
        self.modulation: nn.Module = Modulation(width, 3)

    def forward(self, y: Tensor, vec: Tensor) -> Tensor:
        shift, scale, gate = self.modulation(vec)[:, None].chunk(3, -1)
        width = y.shape[-1]
        made = self.linear1(modulated(y, scale, shift))
        q, k, v = (by_head(part, self.heads) for part in made[..., : 3 * width].chunk(3, -1))
        attended = attend(self.norm["query_norm"](q), self.norm["key_norm"](k), v)
        h = self.linear2(torch.cat([attended, F.gelu(made[..., 3 * width :], approximate="tanh")], -1))
        return y + (gate * h).to(y.dtype)  # type: ignore[no-any-return]


class FinalLayer(nn.Module):
    """A last modulated norm, and the latents' channels."""

    def __init__(self, config: Transformer) -> None:
        super().__init__()
        width = config.hidden_size
        self.linear = nn.Linear(width, config.in_channels)
        self.adaLN_modulation: nn.Module = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x: Tensor, vec: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(vec)[:, None].chunk(2, -1)
        return self.linear(modulated(x.float(), scale, shift))  # type: ignore[no-any-return]


class Flow(nn.Module):
    """Velocity [B, N, C] from noise to data of latents x [B, N, C] at t [B], 0 for noise and 1 for data, under cond
    [B, M, D]; with guidance [B] where the model was distilled for it."""

    def __init__(self, config: Transformer) -> None:
        super().__init__()
        self.block_dtype = torch.float32
        width = config.hidden_size
        self.latent_in, self.cond_in = nn.Linear(config.in_channels, width), nn.Linear(config.context_in_dim, width)
        self.time_in: nn.Module = Embedder(width, config.time_factor)
        if config.guidance_embed:
            self.guidance_in = Embedder(width, config.time_factor)
        self.double_blocks = nn.ModuleList(DoubleBlock(config) for _ in range(config.depth))
        self.single_blocks = nn.ModuleList(SingleBlock(config) for _ in range(config.depth_single_blocks))
        self.final_layer = FinalLayer(config)

    def set_block_dtype(self, dtype: torch.dtype) -> None:
        """Run the blocks in `dtype`; norms, modulation and everything around them stay float32."""
        self.block_dtype = dtype
        for blocks in (self.double_blocks, self.single_blocks):
            set_dtype(blocks, dtype)
        for owner, name in self._modulations():
            getattr(owner, name).float()

    def _modulations(self) -> list[tuple[nn.Module, str]]:
        """Where each layer that reads the time's vector stands: its owner and its name there."""
        found: list[tuple[nn.Module, str]] = [(self.final_layer, "adaLN_modulation")]
        for block in self.double_blocks:
            found += [(block, "img_mod"), (block, "txt_mod")]
        return found + [(block, "modulation") for block in self.single_blocks]

    def vector(self, t: Tensor, guidance: Tensor | None = None) -> Tensor:
        """What modulates the blocks, [B, W]."""
        vec: Tensor = self.time_in(t)
        return vec if guidance is None else vec + self.guidance_in(guidance)

    def tabulate_time(self, times: Sequence[float], guidance: float | None) -> None:
        """Take `t` among these alone (each in 0..1) and this guidance: what the blocks read of them as tables."""
        device = self.latent_in.weight.device
        at = torch.tensor(times, dtype=torch.float32, device=device)
        with torch.no_grad():
            vec = self.vector(at, None if guidance is None else torch.full_like(at, guidance))
            for owner, name in self._modulations():
                answers = getattr(owner, name)(vec)
                table = nn.Linear(len(times), answers.shape[-1], bias=False, device=device)
                table.weight = nn.Parameter(answers.t().contiguous(), requires_grad=False)
                setattr(owner, name, table)
        self.time_in = _Rising(at)
        if guidance is not None:
            del self.guidance_in

    def forward(self, x: Tensor, t: Tensor, cond: Tensor, guidance: Tensor | None = None) -> Tensor:
        vec = self.vector(t, guidance)
        h, c = self.latent_in(x).to(self.block_dtype), self.cond_in(cond).to(self.block_dtype)
        for block in self.double_blocks:
            h, c = block(h, c, vec)
        y = torch.cat([c, h], 1)
        for block in self.single_blocks:
            y = block(y, vec)
        return self.final_layer(y[:, c.shape[1] :], vec)  # type: ignore[no-any-return]


class _Rising(nn.Module):
    """Weights [B, steps] of steps at times that rise."""

    def __init__(self, times: Tensor) -> None:
        super().__init__()
        self.weights = StepWeights(-1000 * times)  # which wants them falling

    def forward(self, t: Tensor) -> Tensor:
        return self.weights(-1000 * t)  # type: ignore[no-any-return]
