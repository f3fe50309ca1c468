"""Sampling of many captions at once with the package's sampler, and the held-out set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gen3dexport.models.flow_sampler import Schedule, sample
from training.trellis_mini.checkpoint import RELEASE
from training.trellis_mini.shapes import unpack


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

    @property
    def schedule(self) -> Schedule:
        """The package's schedule of these settings."""
        return Schedule(self.steps, self.cfg_strength, self.cfg_interval, self.rescale_t)


@torch.no_grad()
def sample_batch(model: nn.Module, noise: Tensor, cond: Tensor, negative: Tensor, settings: Settings) -> Tensor:
    """Latents of noise [B, 8, 8, 8, 8] under conditions [B, 48, 384]; `negative` has batch 1."""
    unconditional = negative.expand_as(cond)

    def velocity(x: Tensor, t: float, conditional: bool) -> Tensor:
        time = torch.full((len(x),), t, dtype=torch.float32)
        return model(x, time, cond if conditional else unconditional)  # type: ignore[no-any-return]

    return sample(velocity, noise, settings.schedule)  # type: ignore[no-any-return]


def item_noise(seeds: Sequence[int]) -> Tensor:
    """Start noise [B, 8, 8, 8, 8], drawn per seed as the exported pipeline does."""
    return torch.from_numpy(
        np.stack([np.random.default_rng(s).standard_normal((8, 8, 8, 8), dtype=np.float32) for s in seeds])
    )


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
    flow: nn.Module,
    decoder: nn.Module,
    features: Tensor,
    empty: Tensor,
    seeds: Sequence[int],
    settings: Settings,
    batch: int = 50,
) -> NDArray[np.float32]:
    """Occupancy logits [N, 32, 32, 32] generated for text features [N, 48, 384]."""
    out = []
    for first in range(0, len(seeds), batch):
        part = slice(first, first + batch)
        latent = sample_batch(flow, item_noise(seeds[part]), features[part], empty, settings)
        with torch.no_grad():
            out.append(decoder(latent)[:, 0].numpy())
    return np.concatenate(out)


def ious(answer: NDArray[np.bool_], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """IoU of every pair of occupancies."""
    axes = (1, 2, 3)
    both, either = (answer & truth).sum(axes), (answer | truth).sum(axes)
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)
