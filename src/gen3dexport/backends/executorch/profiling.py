"""Operators of a .pte by ExecuTorch's event tracer: those of its own kernels, and those inside XNNPACK's delegates.

XNNPACK counts an operator's time in whole microseconds. The tracer knows nothing of memory: a program's tensors lie in
one buffer that was planned when it was lowered.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gen3dexport.backends._inputs import in_order
from gen3dexport.backends._quiet import quiet_stderr
from gen3dexport.backends._running import running
from gen3dexport.bundle.program import ProgramRecord
from gen3dexport.disk import scratch
from gen3dexport.operator_times import OperatorTimes, Ran, Turns

OUTSIDE = "delegate call, outside its operators"
"""Time of a delegate that is none of its operators': its inputs' and outputs' shapes, threads that start."""
_CALL, _DELEGATE, _NATIVE = "Method::execute", "DELEGATE_CALL", "native_call_"
_NUMBERED = re.compile(r"^(.*) #(\d+)$")


def profile(path: Path, record: ProgramRecord, inputs: Mapping[str, Any], turns: Turns) -> OperatorTimes:
    """The operators of the method `forward`; raises what the runtime raises on a damaged file."""
    import torch

    with quiet_stderr():
        from gen3dexport.backends.executorch.own_runtime import open_program

        program = open_program(path, events=True)
        method = program.load_method("forward")
    tensors = [torch.from_numpy(np.array(value)) for value in in_order(record, inputs)]

    def traced() -> None:
        method(tensors)

    with running(record, "ExecuTorch"):
        turns(traced)
    with scratch() as folder:
        dump = folder / "events.etdp"
        program.write_etdump_result_to_file(str(dump), str(folder / "unused"))
        calls = _calls(dump)[turns.warmup :]
    memory = "unmeasured: ExecuTorch plans every tensor's place when it lowers, and its event tracer records no memory"
    return OperatorTimes("ExecuTorch's event tracer", "measured", tuple(calls), memory)


def _calls(dump: Path) -> list[tuple[Ran, ...]]:
    """The operators of every call in a dump, oldest call first."""
    from executorch.devtools import Inspector

    with warnings.catch_warnings(), quiet_stderr():
        warnings.simplefilter("ignore")  # that there is no ETRecord: names of the source's modules stay unknown
        blocks = Inspector(etdump_path=str(dump)).event_blocks
    found: list[tuple[float, tuple[Ran, ...]]] = []
    for events in (block.events for block in blocks):
        runs = [e for e in events if e.name == _CALL]
        if runs:
            for k in range(len(runs[0].perf_data.raw)):
                begin = runs[0].start_time[k] / 1e3
                found.append((begin, _call(events, k, begin)))
    return [call for _, call in sorted(found, key=lambda pair: pair[0])]


def _call(events: Any, k: int, begin: float) -> tuple[Ran, ...]:
    """The operators of call `k`, which began at microsecond `begin`."""
    inside: dict[int, float] = {}
    made = []
    for event in events:
        if event.perf_data is None or k >= len(event.perf_data.raw):
            continue
        us, start = 1e3 * event.perf_data.raw[k], event.start_time[k] / 1e3 - begin
        if event.is_delegated_op:
            numbered = _NUMBERED.fullmatch(event.name)
            kind, number = numbered.groups() if numbered else (event.name, "")
            name = f"{number} of delegate call {event._instruction_id}"
            inside[event._instruction_id] = inside.get(event._instruction_id, 0.0) + us
            made.append(Ran(kind, name, "XNNPACK", start, us, us))
        elif event.name.startswith(_NATIVE):
            operator = event.name.removeprefix(_NATIVE)
            made.append(Ran(operator, f"instruction {event._instruction_id}", "ExecuTorch kernels", start, us, us))
    for event in events:
        if event.name == _DELEGATE:
            us, start = 1e3 * event.perf_data.raw[k], event.start_time[k] / 1e3 - begin
            own = max(0.0, us - inside.get(event._instruction_id, 0.0))
            made.append(Ran(OUTSIDE, f"delegate call {event._instruction_id}", "XNNPACK", start, own, us))
    return tuple(sorted(made, key=lambda ran: (ran.start_us, -ran.span_us)))
