"""Point-E's diffusion transformers: the noise in a cloud of coloured points, and its variance. Names are the release's,
but for the blocks, `backbone.resblocks` there.

A cloud is [B, 6, n]: x, y, z, red, green, blue, scaled to about [-1, 1]. There is no embedding of positions: points are
a set. Source: Nichol et al. 2022, "Point-E".
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gen3dexport.models.point_e.host.model import CHANNELS, Denoising
from gen3dexport.models.point_e.networks.layers import Block, Mlp
from gen3dexport.networks.half_precision import FloatNorm, HalfBlocks


def timestep_features(t: Tensor, width: int) -> Tensor:
    """Features [cos | sin] of timesteps t [B], as [B, width] float32; the frequencies fall from 1 to 1/10000."""
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32, device=t.device)
    angles = t.float()[:, None] * torch.exp(-math.log(10000.0) * steps / half)
    return torch.cat([angles.cos(), angles.sin()], -1)


class Denoiser(HalfBlocks):
    """Noise and variance [B, 12, n] of clouds x [B, 6, n] at timesteps t [B] in 0..1023.

    What else it takes is said by its kind: a vector `cond` [B, D] of CLIP (unit length, zeros for none), or a grid
    [B, D, L] of CLIP's tokens (zeros for none), and, to make a cloud denser, `low_res` [B, 6, m] in the release's units
    (colours 0 to 255).
    """

    stack = "blocks"

    def __init__(self, config: Denoising) -> None:
        super().__init__()
        width = config.width
        self.width, self.kind, self.extra = width, config.kind, config.extra_tokens
        self.time_embed = Mlp(width)
        self.ln_pre, self.ln_post = FloatNorm(width), FloatNorm(width)
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.layers))
        self.input_proj, self.output_proj = nn.Linear(CHANNELS, width), nn.Linear(width, 2 * CHANNELS)
        if config.kind == "vector":
            self.clip_embed: nn.Module = nn.Linear(config.clip_width, width)
        elif config.kind in ("grid", "upsampler"):
            self.clip_embed = nn.Sequential(FloatNorm(config.clip_width), nn.Linear(config.clip_width, width))
        if config.kind == "upsampler":
            self.cond_point_proj = nn.Linear(CHANNELS, width)
            for name in ("channel_scales", "channel_biases"):
                self.register_buffer(name, torch.tensor(getattr(config, name), dtype=torch.float32))

    def time_token(self, t: Tensor) -> Tensor:
        """A timestep's token [B, W]."""
        return self.time_embed(timestep_features(t, self.width))  # type: ignore[no-any-return]

    def tokens(self, x: Tensor, t: Tensor, cond: Tensor | None, low_res: Tensor | None) -> Tensor:
        """The sequence [B, extra + n, W] through its first norm: what the cloud is made of comes before its points."""
        parts = [self.time_token(t)[:, None]]
        if cond is not None and self.kind == "vector":
            parts.insert(0, self.clip_embed(math.sqrt(cond.shape[-1]) * cond)[:, None])
        elif cond is not None:
            parts.append(self.clip_embed(cond.transpose(1, 2)))
        if low_res is not None:
            scales, biases = self.get_buffer("channel_scales"), self.get_buffer("channel_biases")
            parts.append(self.cond_point_proj((low_res * scales[:, None] + biases[:, None]).transpose(1, 2)))
        parts.append(self.input_proj(x.transpose(1, 2)))
        return self.ln_pre(torch.cat(parts, 1))  # type: ignore[no-any-return]

    def before(self, x: Tensor, t: Tensor, cond: Tensor | None = None, low_res: Tensor | None = None) -> tuple[Tensor]:
        """What the first block takes, in the blocks' dtype."""
        return (self.tokens(x, t, cond, low_res).to(self.block_dtype),)

    def after(self, x: Tensor) -> Tensor:
        """Noise and variance of the last rows that are points."""
        return self.output_proj(self.ln_post(x.float())[:, self.extra :]).transpose(1, 2)  # type: ignore[no-any-return]

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None = None, low_res: Tensor | None = None) -> Tensor:
        (h,) = self.before(x, t, cond, low_res)
        for block in self.blocks:
            h = block(h)
        return self.after(h)
