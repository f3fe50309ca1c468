"""`trace.json`: one call of each program in Chrome's trace event format, which Perfetto and chrome://tracing open.

Source of the format: "Trace Event Format" (Google); complete events (`ph: X`) with `ts` and `dur` in microseconds, and
metadata events (`ph: M`) that name processes and threads.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gen3dexport.profiling.kinds import kind_of
from gen3dexport.profiling.profile import Profiled

_GAP_US = 100.0
"""Between one program and the next."""


def trace(found: Sequence[Profiled]) -> str:
    """The trace as JSON: a process for each bundle, a thread for each program and place, programs one after another."""
    events: list[dict[str, Any]] = []
    for pid, each in enumerate(found, start=1):
        profile = each.profile
        events.append(_named("process_name", pid, 0, f"{profile.bundle}: {profile.recipe} on {profile.target}"))
        begin, threads = 0.0, 0
        for program in profile.programs:
            call = each.events.get(program.program, ())
            places = {place: threads + k for k, place in enumerate(dict.fromkeys(ran.place for ran in call), start=1)}
            threads += len(places)
            for place, tid in places.items():
                events.append(_named("thread_name", pid, tid, f"{program.program}: {place}"))
            for ran in call:
                said = {"name": ran.name, "own_us": ran.us, "basis": program.basis, "component": program.component}
                events.append(
                    {
                        "name": ran.operator,
                        "cat": kind_of(ran.operator),
                        "ph": "X",
                        "ts": begin + ran.start_us,
                        "dur": ran.span_us,
                        "pid": pid,
                        "tid": places[ran.place],
                        "args": said | ({} if ran.bytes is None else {"bytes": ran.bytes}),
                    }
                )
            begin += max((ran.start_us + ran.span_us for ran in call), default=0.0) + _GAP_US
    return json.dumps({"displayTimeUnit": "ms", "traceEvents": events}, allow_nan=False)


def _named(what: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"name": what, "ph": "M", "ts": 0, "pid": pid, "tid": tid, "args": {"name": name}}
