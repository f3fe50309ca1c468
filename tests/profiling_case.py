"""A small network of known operators through a backend, and its profile."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gen3dexport import backends
from gen3dexport.bundle.program import program_record, specs
from gen3dexport.export import Captured
from gen3dexport.models.component import Component
from gen3dexport.operator_times import OperatorTimes, Unprofiled

CALLS, WARMUP = 3, 1


class Perceptron(nn.Module):
    """A norm, two linear layers that take nearly all its time with a GELU between them, and a running sum."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(256), nn.Linear(256, 1024), nn.Linear(1024, 256)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cumsum(self.down(nn.functional.gelu(self.up(self.norm(x)))), 1)


class Turns:
    """Traced calls, each with the milliseconds that it took."""

    warmup = WARMUP

    def __init__(self) -> None:
        self.ms: list[float] = []

    def __call__(self, traced: Callable[[], float | None]) -> None:
        for _ in range(WARMUP + CALLS):
            start = time.perf_counter()
            said = traced()
            self.ms.append(1e3 * (time.perf_counter() - start) if said is None else said)


def profiled(backend: Any, folder: Path, options: Any) -> tuple[OperatorTimes | Unprofiled, list[float]]:
    """What a backend's profiler says of the network, and the milliseconds of the calls that count."""
    torch.manual_seed(0)
    inputs = {"x": torch.randn(1, 512, 256)}
    component = Component("net", Perceptron().eval(), inputs, ("y",))
    outputs = specs(component.run())
    lowered = backend.lower(Captured(component), options, folder)
    record = program_record("net", lowered, specs(inputs), outputs)
    turns = Turns()
    found = backends.profile(backend, folder, record, {"x": inputs["x"].numpy()}, turns)
    return found, turns.ms[WARMUP:]


def check_measured(
    found: OperatorTimes | Unprofiled, ms: list[float], linear: str, count: int = 2, least: float = 0.7
) -> dict[str, Any]:
    """The calls are those that count; operators of the linear layers' name ran `count` times in each and took a
    third at least; the operators' times add up to the call's: to the share `least`, and to no more than it took.

    Returns:
        Operators of the first call by name.
    """
    assert isinstance(found, OperatorTimes) and found.basis == "measured"
    assert len(found.calls) == CALLS == len(ms)
    for call, took in zip(found.calls, ms, strict=True):
        total = sum(ran.us for ran in call) / 1e3
        assert least * took < total < 1.02 * took, (total, took)
        linears = [ran for ran in call if ran.operator == linear]
        assert len(linears) == count, [ran.operator for ran in call]
        assert sum(ran.us for ran in linears) > 0.3 * 1e3 * total
        assert all(ran.start_us >= -1 and 0 <= ran.us <= ran.span_us + 1e-3 for ran in call)
        assert max(ran.start_us + ran.span_us for ran in call) < 1.02e3 * took + 1e3
    return {ran.operator: ran for ran in found.calls[0]}
