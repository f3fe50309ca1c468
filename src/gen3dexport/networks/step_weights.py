"""The steps of a sampler as weights: what takes the place of a timestep's features where only those times are asked."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_BEYOND = 1000.0  # from the first and the last step to where their weights vanish


class StepWeights(nn.Module):
    """Weights [B, steps] of the sampler's steps at t [B] (times 1000), in float32.

    Exactly 1 for the step at t and 0 for all others; between two steps they interpolate.
    """

    times: Tensor
    before: Tensor
    after: Tensor

    def __init__(self, times: Tensor) -> None:
        """`times` [steps], falling."""
        super().__init__()
        self.register_buffer("times", times)
        self.register_buffer("before", torch.cat([times[:1] + _BEYOND, times[:-1]]))
        self.register_buffer("after", torch.cat([times[1:], times[-1:] - _BEYOND]))

    def forward(self, t: Tensor) -> Tensor:
        rising = (t[:, None] - self.after) / (self.times - self.after)
        falling = (self.before - t[:, None]) / (self.before - self.times)
        return torch.minimum(rising, falling).clamp(0, 1)


def step_table(embedding: nn.Module, timesteps: Sequence[float]) -> nn.Sequential:
    """What `embedding` makes of these timesteps (times 1000, falling), in float32, as a table: t [B] -> [B, W]."""
    like = next(embedding.parameters())
    times = torch.tensor(timesteps, dtype=torch.float32, device=like.device)
    with torch.no_grad():
        answers = embedding(times)
        table = nn.Linear(len(times), answers.shape[-1], bias=False, device=times.device)
        table.weight = nn.Parameter(answers.t().contiguous(), requires_grad=False)
    return nn.Sequential(StepWeights(times), table)
