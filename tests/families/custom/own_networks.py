"""Factories that the tests of `custom` name in recipes; a package of a user, as it were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gen3dexport.models.custom import Part, Pipeline


@dataclass
class Encoded:
    """What the encoder returns."""

    tokens: Tensor
    extra: dict[str, Any]


class Encoder(nn.Module):
    """ids [1, 8] -> tokens [1, 8, W] and their mean."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.table, self.mix = nn.Embedding(16, width), nn.Linear(width, width)

    def forward(self, ids: Tensor, scale: Tensor | None = None) -> Encoded:
        found = self.mix(self.table(ids))
        return Encoded(found if scale is None else found * scale, {"mean": found.mean(1), "nothing": None})


class Decoder(nn.Module):
    """tokens and keep by keyword -> a mapping of positions, colours and ids; it has a tensor that is no buffer."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.head = nn.Linear(width, 6)
        self.table = torch.tensor([1.0, 2.0, 3.0])

    def forward(self, *, tokens: Tensor, keep: Tensor) -> dict[str, Tensor]:
        found = self.head(tokens)
        rows = found[..., :3] * self.table
        return {"positions": rows, "colors": found[..., 3:].sigmoid() * keep, "nearest": rows.argmax(-1)}


def cloud(width: int = 32) -> Pipeline:
    """Two parts: ids to tokens, tokens to points."""
    examples = {"ids": torch.arange(8)[None], "keep": torch.ones(1, 8, 1)}
    meaning = {"kind": "points", "positions": "positions", "colors": "colors", "up": "y"}
    return Pipeline([Part(Encoder(width), "encoder"), Part(Decoder(width), "decoder")], examples, meaning)


class Ball(nn.Module):
    """points [1, N, 3] and a radius [1, 1] -> |p| - radius [1, N]."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(1))

    def forward(self, points: Tensor, radius: Tensor) -> Tensor:
        return points.square().sum(-1).sqrt() * self.one - radius


def ball() -> Pipeline:
    """A field whose surface is a sphere."""
    examples = {"points": torch.rand(1, 700, 3), "radius": torch.full((1, 1), 0.6)}
    meaning = {"kind": "mesh", "points": "points", "values": "output", "edge": 2}
    return Pipeline(Part(Ball(), "field"), examples, meaning)


class Tied(nn.Module):
    """One weight under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.second = nn.Linear(8, 8)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


class InPlace(nn.Module):
    """Changes its input."""

    def forward(self, x: Tensor) -> Tensor:
        x += 1
        return x * 2


class Noisy(nn.Module):
    """Draws random numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


class Number(nn.Module):
    """Returns no tensor."""

    def forward(self, x: Tensor) -> Any:
        return {"size": 3.0}


class Wide(nn.Module):
    """Needs an argument."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x)


class Same(nn.Module):
    """Returns its input, twice."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y = x * 2
        return x, y, y


class Complex(nn.Module):
    """Returns complex numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft(x)


def scripted() -> Any:
    """A module that is no Python any more."""
    return torch.jit.script(nn.Linear(8, 8))


def on_cuda() -> Any:
    """A module on a GPU."""
    return nn.Linear(8, 8).to("cuda")


def broken() -> Any:
    """Fails."""
    raise RuntimeError("no such file: weights.bin")


def text() -> Any:
    """Gives no module."""
    return "a module"
