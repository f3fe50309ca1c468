"""Measurements of a bundle, in the process that runs `python -m gen3dexport.validation.measure BUNDLE OUT_FOLDER`.

Reads only the bundle. Everything here is measured on this machine, or said to be missing with the reason.
"""

from __future__ import annotations

import gc
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from gen3dexport.assets import kinds
from gen3dexport.assets.score import Score
from gen3dexport.backends import Program, stand_in
from gen3dexport.bundle import golden
from gen3dexport.bundle.program import ProgramRecord
from gen3dexport.children import end_with_parent
from gen3dexport.documents.recipe import Golden
from gen3dexport.documents.target import Measure
from gen3dexport.errors import GenExportError, MissingError, VerificationError
from gen3dexport.models import Request
from gen3dexport.provenance import host
from gen3dexport.reports.records import (
    Errors,
    Failure,
    Latency,
    MeasuredProgram,
    Measurement,
    OutputError,
    PeakMemory,
    Pipeline,
    Quality,
    Unmeasured,
)
from gen3dexport.runtime.pipeline import LoadedBundle, to_numpy, verified
from gen3dexport.tensor_error import tensor_error
from gen3dexport.trajectory import trajectory
from gen3dexport.validation.drift import Watched, snr_db
from gen3dexport.validation.foreign import foreign
from gen3dexport.validation.gates import time_against_unquantized
from gen3dexport.validation.timing import HostPeak, StageTimes, device_memory, percentiles, time_calls

MEASURED = "measured.json"
"""File of the child process's answer, beside the assets that it made (`golden.ASSETS`)."""
Timed = Callable[[Mapping[str, np.ndarray], Measure], tuple[Latency, PeakMemory]]
"""What a program that runs on another machine may have as `timed`: its times and memory, taken there."""


def measure_bundle(folder: Path, out: Path) -> Measurement:
    """Errors, latency and peak memory of every program, and quality and latency of whole assets, on this machine.

    The assets go to `golden.ASSETS` in `out`.
    """
    loaded = verified(folder, reports=False)
    measure = Measure(**loaded.manifest.target["measure"])
    measured = measure_loaded(loaded, out)
    programs = dict(measured.programs)
    for name in loaded.manifest.unquantized:  # last, for it loads further programs
        record = loaded.manifest.component(name)
        if programs[record.name].missing is None:
            inputs = golden_calls(loaded, record)[0].inputs
            slowdown = time_against_unquantized(loaded, name, inputs, measure)
            programs[record.name] = programs[record.name].model_copy(update={"slowdown": slowdown})
    return measured.model_copy(update={"programs": programs})


def measure_loaded(loaded: LoadedBundle, out: Path, device: str = "") -> Measurement:
    """What `measure_bundle` finds of a bundle, wherever its programs run, but for its unquantized ones.

    Args:
        device: its name; of the first program's device when none is given.
    """
    measure = Measure(**loaded.manifest.target["measure"])
    warm_runtime(loaded)
    programs = {p.name: _measure_program(loaded, p, measure) for p in loaded.manifest.programs}
    first = next(iter(loaded.programs.values()), None)
    device = device or getattr(first, "device_name", None) or host()["processor"] or platform.machine()
    return Measurement(device=device, programs=programs, pipeline=_measure_pipeline(loaded, measure, programs, out))


def warm_runtime(loaded: LoadedBundle) -> None:
    """Load the smallest program and forget it, so that the first one's memory is not that of importing the runtime."""
    programs = [loaded.manifest.component(name) for name in loaded.manifest.components]
    try:
        loaded.program(min(programs, key=loaded.manifest.bytes_of))
    except MissingError:
        return  # said for every program, with its reason
    loaded.programs.clear()
    gc.collect()


def _measure_program(loaded: LoadedBundle, record: ProgramRecord, measure: Measure) -> MeasuredProgram:
    """What is found of one program, or what is missing here to run it."""
    try:
        return _run_program(loaded, record, measure)
    except MissingError as error:
        unknown = Unmeasured(reason=str(error))
        return MeasuredProgram(latency=unknown, peak_memory=unknown, missing=str(error))


def _run_program(loaded: LoadedBundle, record: ProgramRecord, measure: Measure) -> MeasuredProgram:
    memory = HostPeak()
    program = loaded.program(record)
    calls = golden_calls(loaded, record)
    errors: dict[str, dict[str, OutputError]] = {"fp32": {}, "quantized": {}}
    for call in calls:
        outputs = to_numpy(program(_on_device(call.inputs, program)))
        for reference, arrays in (("fp32", call.fp32), ("quantized", call.quantized)):
            worst = errors[reference]
            for name, expected in arrays.items():
                found = tensor_error(_real_rows(record, name, outputs[name], expected), expected)
                if name not in worst or found.relative_l2 > worst[name].relative_l2:
                    worst[name] = OutputError(**asdict(found))
    latency: Latency
    peak: PeakMemory
    timed: Timed | None = getattr(program, "timed", None)
    if (reason := stand_in(program) or _foreign(loaded, program)) is not None:
        latency = peak = Unmeasured(reason=reason)
    elif timed is not None:
        latency, peak = timed(calls[0].inputs, measure)
    else:
        inputs = _on_device(calls[0].inputs, program)
        latency = time_calls(lambda: to_numpy(program(inputs)), measure, before=len(calls))
        peak = device_memory(program) or memory.read()
    return MeasuredProgram(errors=Errors(**errors), latency=latency, peak_memory=peak)


def _foreign(loaded: LoadedBundle, program: Program) -> str | None:
    """Why times of a program that runs here are not the target's: it is for another architecture."""
    return None if hasattr(program, "timed") else foreign(loaded.manifest.target, platform.machine())


def _real_rows(record: ProgramRecord, name: str, found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """An output without its padding, of which golden data has nothing.

    Raises:
        VerificationError: when the output is not of the shape that the manifest says.
    """
    wanted = record.outputs[name].shape
    if found.shape != wanted:
        raise VerificationError(
            f"program {record.name}: {name} has shape {list(found.shape)}, and the manifest says {list(wanted)}; "
            "build the bundle again"
        )
    return found[:, : expected.shape[1]]


def golden_calls(loaded: LoadedBundle, record: ProgramRecord) -> list[golden.Call]:
    """The golden calls of a program; outputs are their real rows."""
    if record.role == "sampler":
        # The loop as one program: its inputs are the conditions of both branches and the first call's state.
        return [golden.read_loop(_golden(loaded, f"{record.component}.sampler"), record.component)]
    return golden.read_calls(_golden(loaded, record.component), record.component)


def _golden(loaded: LoadedBundle, stem: str) -> Path:
    """The folder of golden data, one file of which is checked once more before it is read."""
    loaded.check(f"{golden.FOLDER}/{stem}.safetensors")
    return loaded.folder / golden.FOLDER


def _on_device(inputs: Mapping[str, np.ndarray], program: Program) -> dict[str, Any]:
    return {name: program.xp.asarray(value) for name, value in inputs.items()}


def _measure_pipeline(
    loaded: LoadedBundle, measure: Measure, programs: Mapping[str, MeasuredProgram], out: Path
) -> Pipeline:
    """Whole assets, or why none are made."""
    asked = Golden(**loaded.manifest.recipe["golden"])
    has_reference = f"{golden.FOLDER}/{golden.ASSETS}" in loaded.manifest.files
    if not all(loaded.record(name).name in loaded.programs for name in loaded.manifest.components):
        reason = next(p.missing for p in programs.values() if p.missing is not None)
    elif has_reference:
        reference = _golden(loaded, Path(golden.ASSETS).stem) / golden.ASSETS
        return _measure_assets(loaded, asked, measure, golden.read_assets(reference), out)
    else:
        reason = "random weights make no assets" if loaded.manifest.random_weights else "recipe: golden.assets is off"
    return Pipeline(prompts=asked.prompts, seed=asked.seed, missing=reason, latency=Unmeasured(reason=reason))


def _measure_assets(
    loaded: LoadedBundle, asked: Golden, measure: Measure, references: Sequence[golden.Assets], out: Path
) -> Pipeline:
    quality, stages = [], StageTimes(loaded.manifest.components)
    generated: list[golden.Assets] = []
    times = []
    samplers = {
        name: found
        for name in loaded.manifest.components
        if f"{golden.FOLDER}/{name}.trajectory.safetensors" in loaded.manifest.files
        and (found := golden.read_trajectories(_golden(loaded, f"{name}.trajectory"), name)) is not None
    }
    drift: dict[str, list[tuple[float | None, ...]]] = {}
    for k, (prompt, reference) in enumerate(zip(asked.prompts, references, strict=True)):
        stages.begin()
        request = Request(prompt, asked.seed + k, stand_in="trained")
        start = time.perf_counter()
        with _watched(loaded, samplers) as watched:
            state = loaded.run(request, stages)
        times.append(1e3 * (time.perf_counter() - start))
        for name, program in watched.items():
            latents = trajectory(program.calls, program.state, program.time, loaded.output(name, state))
            drift.setdefault(name, []).append(tuple(snr_db(latents, samplers[name].latents[k])))
        made = loaded.family.make_assets(state, loaded.settings)
        generated.append({kind: kinds.of(kind).arrays(asset) for kind, asset in made.items()})
        scores = {kind: _scores(kind, asset, reference) for kind, asset in made.items()}
        quality.append(Quality(prompt=prompt, scores=scores))
    golden.write_assets(out / golden.ASSETS, generated)
    reason = next((stand_in(p) or _foreign(loaded, p) for p in loaded.programs.values()), None)
    milliseconds = {name: 1e3 * seconds / len(times) for name, seconds in stages.seconds.items()}
    return Pipeline(
        prompts=asked.prompts,
        seed=asked.seed,
        quality=tuple(quality),
        latency=percentiles(times, 0, measure.threads) if reason is None else Unmeasured(reason=reason),
        stages=milliseconds if reason is None else {},
        drift={name: tuple(found) for name, found in drift.items()},
    )


def _scores(kind: str, asset: Any, reference: golden.Assets) -> tuple[Score, ...]:
    """Scores of an asset against the golden one of its kind.

    Raises:
        VerificationError: when golden data has none, or one that it cannot be compared with.
    """
    module = kinds.of(kind)
    try:
        return module.scores(asset, module.from_arrays(reference[kind]))
    except (KeyError, ValueError) as error:
        raise VerificationError(
            f"the golden {kind.replace('_', ' ')} cannot be compared with the one that was made ({error!r}); build the "
            "bundle again"
        ) from error


@contextmanager
def _watched(loaded: LoadedBundle, samplers: Mapping[str, golden.Trajectories]) -> Iterator[dict[str, Watched]]:
    """Keep the calls of every sampler's network whose float32 trajectories the bundle has, by component."""
    own = dict(loaded.programs)
    watched = {}
    for name, expected in samplers.items():
        program = loaded.record(name).name
        watched[name] = Watched(own[program], expected.state, expected.time)
        loaded.programs[program] = watched[name]
    try:
        yield watched
    finally:
        loaded.programs |= own


def main(arguments: Sequence[str]) -> int:
    """Measure the bundle `arguments[0]` into the folder `arguments[1]`; errors go to `measured.json` too."""
    folder, out = Path(arguments[0]), Path(arguments[1])
    found: Measurement | Failure
    code = 0
    try:
        found = measure_bundle(folder, out)
    except GenExportError as error:
        found, code = Failure(error=error.kind, message=str(error)), error.exit_code
    (out / MEASURED).write_text(found.model_dump_json())
    return code


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main(sys.argv[1:]))
