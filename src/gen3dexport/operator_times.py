"""What a runtime's profiler says of a program's calls: every operator that ran, when, for how long, in which memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Interval = tuple[float, float]


@dataclass(frozen=True)
class Ran:
    """One operator in one call.

    Attributes:
        operator: what it computes, as its runtime names it, e.g. `Fully Connected (NC, QD8, F32, QC8W) GEMM`.
        name: which one of the program it is, e.g. `node_MatMul_3`; "" where the runtime does not say.
        place: what computed it: a delegate, a provider, a device.
        start_us: microseconds from the beginning of the call.
        us: its own microseconds, without those of operators that it called.
        span_us: with those.
        bytes: see `OperatorTimes.bytes`; None where the runtime says nothing of it.
    """

    operator: str
    name: str
    place: str
    start_us: float
    us: float
    span_us: float
    bytes: int | None = None


@dataclass(frozen=True)
class OperatorTimes:
    """The operators of a program.

    Attributes:
        by: the profiler or cost model; basis: whether a device ran them.
        calls: operators of each traced call; of an estimate, those of one call.
        bytes: what `Ran.bytes` counts, or why there is no such number.
    """

    by: str
    basis: Literal["measured", "estimated"]
    calls: tuple[tuple[Ran, ...], ...]
    bytes: str


@dataclass(frozen=True)
class Unprofiled:
    """Nothing is known of a program's operators here, and why."""

    reason: str


class Turns(Protocol):
    """Runs a traced call, in turns with an untraced one; both are timed. A traced call that says how many milliseconds
    it took is not timed again: its tracer may begin and end with it.

    Attributes:
        warmup: how many of the first traced calls do not count.
    """

    warmup: int

    def __call__(self, traced: Callable[[], float | None]) -> None: ...


def own_times(spans: Sequence[Interval]) -> list[float]:
    """Of intervals (begin, length) on one thread, each inside another or apart from it: the length of each without
    those that lie directly in it."""
    own = [length for _, length in spans]
    open_: list[int] = []
    for place in sorted(range(len(spans)), key=lambda k: (spans[k][0], -spans[k][1])):
        begin, length = spans[place]
        while open_ and begin >= sum(spans[open_[-1]]):
            open_.pop()
        if open_:
            own[open_[-1]] -= length
        open_.append(place)
    return [max(0.0, time) for time in own]
