"""Times and memory of calls on this machine. No torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gen3dexport.backends import Program
from gen3dexport.documents.target import Measure
from gen3dexport.reports.records import MeasuredMemory, MeasuredTimes, PeakMemory, Unmeasured
from gen3dexport.runtime.pipeline import to_numpy

_LEAST_RUNS = 5


def time_calls(call: Callable[[], object], measure: Measure, before: int = 0) -> MeasuredTimes:
    """Times of `measure.runs` calls after `measure.warmup` that do not count; of fewer, five at least, when
    `measure.seconds` have passed.

    Args:
        before: calls of the same program just before, which warmed it up as well.
    """
    for _ in range(before, measure.warmup):
        call()
    times: list[float] = []
    while len(times) < measure.runs and (len(times) < _LEAST_RUNS or sum(times) < 1e3 * measure.seconds):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return percentiles(times, max(before, measure.warmup), measure.threads)


def percentiles(times: Sequence[float], warmup: int, threads: int) -> MeasuredTimes:
    """What a report says of times in milliseconds."""
    p50, p90, p99 = (float(np.percentile(times, q)) for q in (50, 90, 99))
    mean, least = float(np.mean(times)), min(times)
    return MeasuredTimes(
        threads=threads,
        warmup=warmup,
        runs=len(times),
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        mean_ms=mean,
        min_ms=least,
    )


class StageTimes:
    """Seconds of every component over all assets, as the timer of `LoadedBundle.run`."""

    def __init__(self, components: Sequence[str]) -> None:
        self.seconds = dict.fromkeys(components, 0.0)
        self._seen: set[str] = set()

    def begin(self) -> None:
        """Another asset begins."""
        self._seen.clear()

    def __call__(self, name: str, step: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        start = time.perf_counter()
        state = step()
        to_numpy({k: v for k, v in state.items() if k not in self._seen})  # waits for the device
        self.seconds[name] += time.perf_counter() - start
        self._seen.update(state)
        return state


def device_memory(program: Program) -> MeasuredMemory | None:
    """The most memory of its own device that a program has needed, or None where it runs in the host's."""
    read: Callable[[], int | None] | None = getattr(program, "device_memory", None)
    found = read() if read else None
    return None if found is None else MeasuredMemory(bytes=found, where="device")


class HostPeak:
    """Peak resident memory of this process from creation to `read`, above what it used at creation (Linux)."""

    def __init__(self) -> None:
        self.start = self._field("VmRSS")
        try:
            Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM to the present size
            self.reason = None if self.start is not None else "no /proc/self/status on this system"
        except OSError as error:
            self.reason = f"the peak cannot be reset on this system ({error.strerror})"

    def read(self) -> PeakMemory:
        """The bytes of the host's memory, or why they cannot be known."""
        peak = self._field("VmHWM")
        if self.reason is not None or peak is None or self.start is None:
            return Unmeasured(reason=self.reason or "no /proc/self/status on this system")
        return MeasuredMemory(bytes=max(0, peak - self.start), where="host")

    @staticmethod
    def _field(name: str) -> int | None:
        path = Path("/proc/self/status")
        lines = path.read_text().splitlines() if path.is_file() else []
        return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)
