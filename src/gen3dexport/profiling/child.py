"""A bundle's programs profiled, in the process that runs
`python -m gen3dexport.profiling.child BUNDLE OUT_FOLDER CALLS [PROGRAM ...]`.

Each program is loaded alone and called on its first golden call: plainly and under its runtime's profiler, in turns.
"""

from __future__ import annotations

import gc
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gen3dexport import backends
from gen3dexport.backends import Program, stand_in
from gen3dexport.bundle.program import ProgramRecord
from gen3dexport.children import end_with_parent
from gen3dexport.errors import GenExportError, MissingError
from gen3dexport.operator_times import OperatorTimes, Ran, Unprofiled
from gen3dexport.profiling.kinds import kind_of
from gen3dexport.profiling.records import OperatorRow, Profile, ProgramProfile
from gen3dexport.provenance import host
from gen3dexport.reports.records import Failure, Latency, MeasuredTimes, PeakMemory, Unmeasured
from gen3dexport.runtime.pipeline import LoadedBundle, to_numpy, verified
from gen3dexport.validation.measure import golden_calls, warm_runtime
from gen3dexport.validation.timing import HostPeak, device_memory, percentiles

ANSWER, EVENTS = "profile.json", "events.json"
"""Files of the answer: a profile or a failure; and of each program the operators of one call."""
_WARMUP = 2


class InTurns:
    """Runs plain and traced calls in turns and keeps their times in milliseconds."""

    def __init__(self, plain: Callable[[], object], calls: int) -> None:
        self.warmup, self.calls = _WARMUP, calls
        self.plain_ms: list[float] = []
        self.traced_ms: list[float] = []
        self._plain = plain

    def __call__(self, traced: Callable[[], float | None]) -> None:
        """Run both `warmup` times, then `calls` times that count."""
        for turn in range(self.warmup + self.calls):
            for call, times in ((self._plain, self.plain_ms), (traced, self.traced_ms)):
                start = time.perf_counter()
                said = call()
                took = said if isinstance(said, float) else 1e3 * (time.perf_counter() - start)
                if turn >= self.warmup:
                    times.append(took)

    def times(self, threads: int) -> tuple[MeasuredTimes, Latency]:
        """Of plain calls, and of traced ones, if there were any."""
        if not self.plain_ms:
            self(lambda: None)
            self.traced_ms.clear()
        plain = percentiles(self.plain_ms, self.warmup, threads)
        if not self.traced_ms:
            return plain, Unmeasured(reason="nothing was traced")
        return plain, percentiles(self.traced_ms, self.warmup, threads)


def profile_bundle(folder: Path, calls: int, names: Sequence[str]) -> tuple[Profile, dict[str, tuple[Ran, ...]]]:
    """The profile of the named programs, all but samplers' loops where none is named, and of each the operators of the
    call whose operators took the median time.

    Raises:
        MissingError: when this machine lacks what a component's program needs.
    """
    loaded = verified(folder, reports=False)
    warm_runtime(loaded)
    records = [p for p in loaded.manifest.programs if p.name in names or (not names and p.role != "sampler")]
    first_calls = {record.name: _first_call(loaded, record) for record in records}  # before any is traced
    found, events = [], {}
    for record in records:
        program, events[record.name] = _program(loaded, record, calls, first_calls[record.name])
        found.append(program)
    devices = (getattr(program, "device_name", None) for program in loaded.programs.values())
    return Profile(
        bundle=folder.name,
        recipe=loaded.manifest.recipe["name"],
        target=loaded.manifest.target["name"],
        backend=loaded.manifest.target["backend"],
        device=next(filter(None, devices), None) or host()["processor"] or platform.machine(),
        threads=_threads(loaded),
        turns=calls,
        created="",
        programs=tuple(found),
    ), events


def _threads(loaded: LoadedBundle) -> int:
    return int(loaded.manifest.target["measure"]["threads"])


def _first_call(loaded: LoadedBundle, record: ProgramRecord) -> PeakMemory:
    """The memory that loading a program and calling it takes; it stays loaded.

    Raises:
        MissingError: when this machine lacks what a component's own program needs.
    """
    memory = HostPeak()
    try:
        program = loaded.program(record)
    except MissingError as error:
        if record.role == "component":
            raise
        return Unmeasured(reason=str(error))
    to_numpy(program(_inputs(loaded, record, program)))
    reason = stand_in(program)
    return Unmeasured(reason=reason) if reason is not None else device_memory(program) or memory.read()


def _inputs(loaded: LoadedBundle, record: ProgramRecord, program: Program) -> dict[str, Any]:
    return {name: program.xp.asarray(value) for name, value in golden_calls(loaded, record)[0].inputs.items()}


def _plain(program: Program, inputs: dict[str, Any]) -> Callable[[], object]:
    """A call whose outputs are on the host when it returns."""
    return lambda: to_numpy(program(inputs))


def _program(
    loaded: LoadedBundle, record: ProgramRecord, calls: int, peak: PeakMemory
) -> tuple[ProgramProfile, tuple[Ran, ...]]:
    """One program, and the operators of one of its calls."""
    backend, programs = backends.find(loaded.manifest.target["backend"]), loaded.folder / "programs"
    program = loaded.programs.get(record.name)
    if program is None:
        assert isinstance(peak, Unmeasured)  # it could not be loaded
        why: str | None = peak.reason
        turns = InTurns(lambda: None, calls)
    else:
        why, turns = stand_in(program), InTurns(_plain(program, _inputs(loaded, record, program)), calls)
    operators = backends.profile(backend, programs, record, golden_calls(loaded, record)[0].inputs, turns)
    gc.collect()
    unknown = None if why is None else Unmeasured(reason=why)
    call, traced = turns.times(_threads(loaded)) if unknown is None else (unknown, unknown)
    loop = record.role == "sampler"
    facts: dict[str, Any] = {"program": record.name, "component": record.component, "role": record.role}
    facts |= {"scheme": record.scheme, "calls": 1 if loop else loaded.manifest.calls[record.component]}
    facts |= {"call": call, "traced": traced, "peak_memory": peak}
    if isinstance(operators, Unprofiled):
        return ProgramProfile(**facts, basis="unmeasured", reason=operators.reason), ()
    rows = _rows(operators)
    known: dict[str, Any] = {"basis": operators.basis, "by": operators.by, "bytes": operators.bytes}
    total = sum(row.ms for row in rows)
    return ProgramProfile(**facts, **known, operators_ms=total, operators=rows), _median(operators.calls)


def _rows(operators: OperatorTimes) -> tuple[OperatorRow, ...]:
    """The operators of a program, their runs put together and averaged over calls."""
    count = max(1, len(operators.calls))
    together: dict[tuple[str, str], list[Ran]] = {}
    for ran in (ran for call in operators.calls for ran in call):
        together.setdefault((ran.operator, ran.place), []).append(ran)
    total = sum(ran.us for call in operators.calls for ran in call) or 1.0
    rows = []
    for (operator, place), runs in together.items():
        us = sum(ran.us for ran in runs)
        known = [ran.bytes for ran in runs if ran.bytes is not None]
        rows.append(
            OperatorRow(
                operator=operator,
                kind=kind_of(operator),
                place=place,
                runs=len(runs) / count,
                ms=us / count / 1e3,
                share=us / total,
                bytes=sum(known) / count if known else None,
            )
        )
    return tuple(sorted(rows, key=lambda row: -row.ms))


def _median(calls: Sequence[tuple[Ran, ...]]) -> tuple[Ran, ...]:
    ordered = sorted(calls, key=lambda call: sum(ran.us for ran in call))
    return ordered[len(ordered) // 2] if ordered else ()


def main(arguments: Sequence[str]) -> int:
    """Profile a bundle into a folder; errors go to the answer too."""
    folder, out, calls, *names = arguments
    answer: Profile | Failure
    code = 0
    try:
        answer, events = profile_bundle(Path(folder), int(calls), names)
        listed = {name: [vars(ran) for ran in call] for name, call in events.items()}
        (Path(out) / EVENTS).write_text(json.dumps(listed))
    except GenExportError as error:
        answer, code = Failure(error=error.kind, message=str(error)), error.exit_code
    (Path(out) / ANSWER).write_text(answer.model_dump_json())
    return code


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main(sys.argv[1:]))
