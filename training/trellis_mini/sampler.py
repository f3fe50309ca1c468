"""Euler sampler of the structure flow with a guidance interval, and the score of held-out captions."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.trellis_mini.checkpoint import RELEASE
from training.trellis_mini.shapes import unpack

Velocity = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Settings:
    """Sampler parameters as pipeline.json names them."""

    steps: int = 10
    cfg_strength: float = 1.0
    cfg_interval: tuple[float, float] = (0.5, 1.0)
    rescale_t: float = 1.0

    def params(self) -> dict[str, object]:
        """The `params` object of pipeline.json."""
        return asdict(self) | {"cfg_interval": list(self.cfg_interval)}


def schedule(steps: int, rescale_t: float) -> NDArray[np.float64]:
    """Times 1 = t_0 > ... > t_steps = 0."""
    tau = np.linspace(1, 0, steps + 1)
    return rescale_t * tau / (1 + (rescale_t - 1) * tau)


@torch.no_grad()
def sample(model: Velocity, noise: Tensor, cond: Tensor, negative: Tensor, settings: Settings) -> Tensor:
    """Latents of noise [B, 8, 8, 8, 8] under conditions [B, 48, 384]; `negative` has batch 1."""
    x, times = noise, schedule(settings.steps, settings.rescale_t)
    low, high = settings.cfg_interval
    unconditional = negative.expand_as(cond)
    for t, after in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        batch = torch.full((len(x),), 1000 * t, dtype=torch.float32)
        velocity = model(x, batch, cond)
        if settings.cfg_strength and low <= t <= high:
            guide = settings.cfg_strength
            velocity = (1 + guide) * velocity - guide * model(x, batch, unconditional)
        x = x - (t - after) * velocity
    return x


def item_noise(seeds: Sequence[int]) -> Tensor:
    """Start noise [B, 8, 8, 8, 8], one CPU generator per seed."""
    return torch.cat([torch.randn(1, 8, 8, 8, 8, generator=torch.Generator().manual_seed(s)) for s in seeds])


@dataclass
class HeldOut:
    """The held-out captions with their true occupancies [N, 32, 32, 32]."""

    captions: list[str]
    categories: list[str]
    seeds: list[int]
    occupancy: NDArray[np.bool_]


def load_held_out(folder: Path = RELEASE) -> HeldOut:
    """Read heldout.json and heldout.npz."""
    items = json.loads((folder / "heldout.json").read_text())["items"]
    occupancy = unpack(np.load(folder / "heldout.npz")["occupancy"])
    return HeldOut([i["caption"] for i in items], [i["category"] for i in items], [i["seed"] for i in items], occupancy)


def generate(
    flow: nn.Module, decoder: nn.Module, features: Tensor, empty: Tensor, seeds: Sequence[int], settings: Settings, batch: int = 50
) -> NDArray[np.bool_]:
    """Occupancies [N, 32, 32, 32] generated for text features [N, 48, 384]."""
    out = []
    for first in range(0, len(seeds), batch):
        part = slice(first, first + batch)
        latent = sample(flow, item_noise(seeds[part]), features[part], empty, settings)
        with torch.no_grad():
            out.append((decoder(latent)[:, 0] > 0).numpy())
    return np.concatenate(out)


def ious(answer: NDArray[np.bool_], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """IoU of every pair of occupancies."""
    axes = (1, 2, 3)
    both, either = (answer & truth).sum(axes), (answer | truth).sum(axes)
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)
