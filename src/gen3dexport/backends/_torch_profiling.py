"""Operators of a program that torch runs, by torch.profiler: on the CPU its operators, on a GPU its kernels."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from gen3dexport.operator_times import OperatorTimes, Ran, Turns

COMPILED = "compiled code"
"""The place of what compiled code marks: its own kernels, and torch's that it calls past the dispatcher."""
_ALLOCATION = "[memory]"


def profile(call: Callable[[], object], turns: Turns, on_gpu: bool) -> OperatorTimes:
    """The operators or kernels that `call` runs, each call traced for itself."""
    import torch
    from torch.profiler import ProfilerActivity

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    calls: list[tuple[Ran, ...]] = []

    def traced() -> float:
        with torch.profiler.profile(activities=activities, profile_memory=not on_gpu) as found:
            start = time.perf_counter()
            call()
            if on_gpu:
                torch.cuda.synchronize()
            took = 1e3 * (time.perf_counter() - start)
        calls.append(_kernels(found.events()) if on_gpu else _operators(found.events()))
        return took

    turns(traced)
    memory = (
        "unmeasured: torch.profiler records no memory of a kernel"
        if on_gpu
        else "bytes that torch allocated less those it freed inside the operator"
    )
    by = f"torch.profiler ({'kernels on the GPU' if on_gpu else 'CPU'})"
    return OperatorTimes(by, "measured", tuple(calls[turns.warmup :]), memory)


def _operators(events: Any) -> tuple[Ran, ...]:
    found = [e for e in events if e.name != _ALLOCATION]
    begin = min((e.time_range.start for e in found), default=0.0)
    return tuple(
        Ran(
            operator=e.name,
            name="",
            place="CPU" if e.name.startswith("aten::") else COMPILED,
            start_us=e.time_range.start - begin,
            us=max(0.0, e.self_cpu_time_total),
            span_us=e.time_range.elapsed_us(),
            bytes=e.self_cpu_memory_usage,
        )
        for e in found
    )


def _kernels(events: Any) -> tuple[Ran, ...]:
    found = [e for e in events if e.device_type.name == "CUDA"]
    begin = min((e.time_range.start for e in found), default=0.0)
    return tuple(Ran(e.name, "", "GPU", e.time_range.start - begin, us := e.time_range.elapsed_us(), us) for e in found)
