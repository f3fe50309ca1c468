"""What the training scripts share: options, a run that resumes, and the rectified flow's loss.

Rectified flow: x_t = (1-t) x_0 + (s + (1-s) t) eps with velocity (1-s) eps - x_0.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.trellis_mini.checkpoint import Average, save_state, write_text

SIGMA_MIN = 1e-5


def noised(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t [B, ...] at times [B]."""
    mix = t.reshape(-1, *(1 for _ in clean.shape[1:]))
    return (1 - mix) * clean + (SIGMA_MIN + (1 - SIGMA_MIN) * mix) * noise


def flow_loss(
    model: nn.Module,
    clean: Tensor,
    generator: np.random.Generator,
    draw_times: Callable[[np.random.Generator, int], Tensor],
    *inputs: Tensor,
) -> Tensor:
    """Mean squared error of the velocity that a model gives with further `inputs`, at random times."""
    noise = torch.from_numpy(generator.standard_normal(tuple(clean.shape), np.float32))
    t = draw_times(generator, len(clean))
    noisy = noised(clean, noise, t)
    with torch.autocast("cpu", torch.bfloat16):
        velocity: Tensor = model(noisy, 1000 * t, *inputs).float()
    return (velocity - ((1 - SIGMA_MIN) * noise - clean)).square().mean()


def read_options(about: str | None, run: Path, minutes: bool = False, **defaults: float) -> argparse.Namespace:
    """Options with the given defaults and those of every script; seeds torch and sets its threads."""
    parser = argparse.ArgumentParser(description=about)
    for name, value in defaults.items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(value), default=value)
    if minutes:
        parser.add_argument("--minutes", type=float, help="end after this time instead of a number of steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--run", type=Path, default=run)
    options = parser.parse_args(namespace=argparse.Namespace(minutes=None))
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    return options


def decay_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Parameters of a model for `adamw`; only those of more than one axis decay."""
    decay = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": decay}, {"params": rest, "weight_decay": 0.0}]


def adamw(parameters: Iterable[Any], rate: float, fused: bool | None = True) -> torch.optim.AdamW:
    """The optimiser of all scripts."""
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01, betas=(0.9, 0.98), fused=fused)


class Run:
    """A model in training, its average (of `decay`) and history; resumes from NAME.pt of the run folder.

    The gradients of every module of `clip`, or of the model, are clipped to norm 1.
    """

    def __init__(
        self,
        name: str,
        options: argparse.Namespace,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        decay: float,
        clip: Sequence[nn.Module] = (),
    ) -> None:
        self.path: Path = options.run / f"{name}.pt"
        self.options, self.model, self.optimiser = options, model, optimiser
        self.clip = clip or [model]
        self.average = Average(model, decay)
        self.history: list[dict[str, float]] = []
        self.losses: list[dict[str, float]] = []
        self.step, self.progress, spent = 0, 0.0, 0.0
        if self.path.exists():
            state = torch.load(self.path, weights_only=False)
            model.load_state_dict(state["model"] if "model" in state else state["models"])
            optimiser.load_state_dict(state["optimiser"])
            self.average.values, self.average.count = state["average"], state["count"]
            self.history, self.step, spent = state["history"], state["step"], state["spent"]
        self.start = time.time() - spent

    @property
    def seconds(self) -> float:
        """Time spent, before resuming too."""
        return time.time() - self.start

    @property
    def done(self) -> bool:
        """Whether the last step began after `--minutes`, or was the last of `--steps`."""
        return bool(self.progress >= 1 if self.options.minutes else self.step >= self.options.steps)

    def begin(self, stream: int) -> np.random.Generator:
        """Begin a step: `progress` of the run, and the step's random generator."""
        minutes, steps = self.options.minutes, self.options.steps
        self.progress = self.seconds / (60 * minutes) if minutes else self.step / steps
        return np.random.default_rng([self.options.seed, stream, self.step])

    def set_rate(self, warm: int, floor: float, progress: float | None = None) -> None:
        """Learning rate: `warm` steps of warm-up times a cosine that ends at `floor`, over the steps or by progress."""
        angle = math.pi * self.step / self.options.steps if progress is None else math.pi * min(progress, 1)
        cosine = floor + (1 - floor) * 0.5 * (1 + math.cos(angle))
        for group in self.optimiser.param_groups:
            group["lr"] = self.options.lr * min(1.0, (self.step + 1) / warm) * cosine

    def update(self, losses: Iterable[Tensor], **parts: Tensor) -> None:
        """One step down the sum of `losses`, one after the other; `parts` are only noted."""
        self.optimiser.zero_grad(set_to_none=True)
        total = 0.0
        for loss in losses:
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        for module in self.clip:
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        self.optimiser.step()
        self.average.update(self.model)
        self.step += 1
        self.losses.append({"loss": total, **{name: value.item() for name, value in parts.items()}})

    def means(self, count: int) -> dict[str, float]:
        """Mean losses of the last steps."""
        last = self.losses[-count:]
        return {name: sum(row[name] for row in last) / len(last) for name in last[-1]}

    def note(self, row: dict[str, float]) -> None:
        """Add a row to the history and print it."""
        self.history.append({"step": self.step, **row})
        print(json.dumps({k: round(v, 4) for k, v in self.history[-1].items()}), round(self.seconds), flush=True)

    def note_means(self, every: int) -> None:
        """Every so many steps, note their mean losses."""
        if self.step % every == 0:
            self.note(self.means(every))

    def save(self) -> None:
        """Write the state's file."""
        key = "models" if isinstance(self.model, nn.ModuleList) else "model"
        state: dict[str, Any] = {key: self.model.state_dict(), "optimiser": self.optimiser.state_dict()}
        state |= {"average": self.average.values, "count": self.average.count}
        save_state(self.path, state | {"history": self.history, "step": self.step, "spent": self.seconds})

    def report(self, **values: Any) -> None:
        """Write NAME_report.json: `values`, steps and seconds so far, and the history."""
        document = {**values, "step": self.step, "seconds": self.seconds, "history": self.history}
        write_text(self.path.with_name(f"{self.path.stem}_report.json"), json.dumps(document) + "\n")
