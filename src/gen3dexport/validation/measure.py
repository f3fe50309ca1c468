"""Measurements of a bundle, in the process that runs `python -m gen3dexport.validation.measure BUNDLE OUT_FOLDER`.

Reads only the bundle. Everything here is measured on this machine, or said to be missing with the reason.
"""

from __future__ import annotations

import gc
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from gen3dexport.assets import kinds
from gen3dexport.backends import Program, stand_in
from gen3dexport.bundle.program import ProgramRecord
from gen3dexport.bundle.provenance import host
from gen3dexport.documents.target import Measure
from gen3dexport.errors import GenExportError, MissingError, VerificationError
from gen3dexport.models import Request
from gen3dexport.runtime.pipeline import LoadedBundle, load, to_numpy
from gen3dexport.tensor_error import tensor_error
from gen3dexport.trajectory import trajectory
from gen3dexport.validation.drift import Watched, snr_db
from gen3dexport.validation.gates import time_against_unquantized

Facts = dict[str, Any]
_LEAST_RUNS = 5


def measure_bundle(folder: Path, out: Path) -> Facts:
    """Errors, latency and peak memory of every program, and quality and latency of whole assets.

    What the family keeps of golden assets goes to `out/assets.safetensors`.
    """
    loaded = load(folder)
    measure = Measure(**loaded.manifest.target["measure"])
    golden = loaded.manifest.recipe["golden"]
    result: Facts = {"device": None, "programs": {}, "pipeline": {"prompts": golden["prompts"], "seed": golden["seed"]}}
    _warm_runtime(loaded)
    for record in loaded.manifest.programs:
        try:
            result["programs"][record.name] = _measure_program(loaded, record, measure)
        except MissingError as error:
            result["programs"][record.name] = {"missing": str(error)}
    first = next(iter(loaded.programs.values()), None)
    result["device"] = getattr(first, "device_name", None) or _cpu_name()
    missing = [f["missing"] for f in result["programs"].values() if "missing" in f]
    ready = all(loaded.record(name).name in loaded.programs for name in loaded.manifest.components)
    if not ready:
        result["pipeline"]["missing"] = missing[0]
    elif (folder / "golden" / "assets.safetensors").is_file():
        result["pipeline"] |= _measure_assets(loaded, measure, out)
    else:
        reason = "random weights make no assets" if loaded.manifest.random_weights else "recipe: golden.assets is off"
        result["pipeline"]["missing"] = reason
    for name in loaded.manifest.unquantized:  # last, for it loads further programs
        record = loaded.manifest.component(name)
        if (facts := result["programs"][record.name]).get("missing") is None:
            inputs = golden_calls(loaded, record)[0]["in"]
            facts["against_unquantized"] = time_against_unquantized(loaded, name, inputs, measure)
    return result


def _warm_runtime(loaded: LoadedBundle) -> None:
    """Load one program and forget it, so that the first component's memory is not that of importing the runtime."""
    try:
        loaded.program(loaded.manifest.component(loaded.manifest.components[-1]))
    except MissingError:
        return  # said for every program, with its reason
    loaded.programs.clear()
    gc.collect()


def _measure_program(loaded: LoadedBundle, record: ProgramRecord, measure: Measure) -> Facts:
    memory = PeakMemory()
    program = loaded.program(record)
    calls = golden_calls(loaded, record)
    errors: Facts = {"fp32": {}, "quantized": {}}
    for call in calls:
        outputs = to_numpy(program(_on_device(call["in"], program)))
        for kind, worst in errors.items():
            for name, expected in call.get(kind, {}).items():
                error = tensor_error(_real_rows(record, name, outputs[name], expected), expected).as_dict()
                if name not in worst or float(error["relative_l2"]) > float(worst[name]["relative_l2"]):
                    worst[name] = error
    facts: Facts = {"errors": errors, "calls": len(calls)}
    reason = stand_in(program)
    if reason is None:
        inputs = _on_device(calls[0]["in"], program)
        facts["latency"] = time_calls(lambda: to_numpy(program(inputs)), measure)
        facts["peak_memory"] = device_memory(program) or memory.read()
    else:
        facts["latency"] = {"kind": "unmeasured", "reason": reason}
        facts["peak_memory"] = {"kind": "unmeasured", "reason": reason}
    return facts


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


def device_memory(program: Program) -> Facts | None:
    """The most memory of its own device that a program has needed, or None where it runs in the host's."""
    read: Callable[[], int | None] | None = getattr(program, "device_memory", None)
    found = read() if read else None
    return None if found is None else {"kind": "measured", "bytes": found, "where": "device"}


def golden_calls(loaded: LoadedBundle, record: ProgramRecord) -> list[dict[str, dict[str, np.ndarray]]]:
    """The golden calls of a program: inputs under `in`, outputs (their real rows) under `fp32` and `quantized`."""
    calls: dict[int, dict[str, dict[str, np.ndarray]]] = {}
    for key, value in load_file(loaded.folder / "golden" / f"{record.component}.safetensors").items():
        call, kind, name = key.split(".", 2)
        calls.setdefault(int(call), {}).setdefault(kind, {})[name] = value
    if record.kind != "sampler":
        return [
            {**call, "quantized": {**call["fp32"], **call.get("quantized", {})}} for _, call in sorted(calls.items())
        ]
    # The loop as one program: its inputs are the conditions of both branches and the first call's state.
    reference = load_file(loaded.folder / "golden" / f"{record.component}.sampler.safetensors")
    sampler: dict[str, dict[str, np.ndarray]] = {}
    for key, value in reference.items():
        kind, name = key.split(".", 1)
        sampler.setdefault(kind, {})[name] = value
    return [sampler]


def _on_device(inputs: Mapping[str, np.ndarray], program: Program) -> dict[str, Any]:
    return {name: program.xp.asarray(value) for name, value in inputs.items()}


def time_calls(call: Callable[[], object], measure: Measure) -> Facts:
    """Percentiles in milliseconds of `measure.runs` calls after `measure.warmup` that do not count; of fewer, five at
    least, when `measure.seconds` have passed."""
    for _ in range(measure.warmup):
        call()
    times: list[float] = []
    while len(times) < measure.runs and (len(times) < _LEAST_RUNS or sum(times) < 1e3 * measure.seconds):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return {"kind": "measured", "threads": measure.threads, "warmup": measure.warmup, "runs": len(times)} | (
        _percentiles(times)
    )


def _percentiles(times: Sequence[float]) -> Facts:
    p50, p90, p99 = (float(np.percentile(times, q)) for q in (50, 90, 99))
    return {"p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "mean_ms": float(np.mean(times)), "min_ms": min(times)}


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


def _measure_assets(loaded: LoadedBundle, measure: Measure, out: Path) -> Facts:
    golden = loaded.manifest.recipe["golden"]
    reference = load_file(loaded.folder / "golden" / "assets.safetensors")
    quality, stages = [], StageTimes(loaded.manifest.components)
    generated: dict[str, np.ndarray] = {}
    times = []
    drift: dict[str, list[list[float | None]]] = {}
    for k, prompt in enumerate(golden["prompts"]):
        stages.begin()
        request = Request(prompt, golden["seed"] + k, stand_in="trained")
        start = time.perf_counter()
        with _watched(loaded) as watched:
            state = loaded.run(request, stages)
        times.append(1e3 * (time.perf_counter() - start))
        for name, program in watched.items():
            final = loaded.output(name, state)
            found = trajectory(program.calls, program.state, program.time, final)
            (expected,) = of_prompt(load_file(_trajectory_file(loaded, name)), k).values()
            drift.setdefault(name, []).append(snr_db(found, expected))
        made = loaded.family.make_assets(state, loaded.settings)
        arrays = {f"{kind}.{n}": a for kind, asset in made.items() for n, a in kinds.of(kind).arrays(asset).items()}
        generated |= {f"{k}.{name}": np.ascontiguousarray(value) for name, value in arrays.items()}
        quality.append({"prompt": prompt, **_quality(made, of_prompt(reference, k))})
    save_file(generated, out / "assets.safetensors")
    reason = next((stand_in(p) for p in loaded.programs.values()), None)
    count = len(golden["prompts"])
    latency: Facts = {"kind": "unmeasured", "reason": reason}
    if reason is None:
        latency = {"kind": "measured", "threads": measure.threads, "warmup": 0, "runs": count, **_percentiles(times)}
    shares = {name: 1e3 * seconds / count for name, seconds in stages.seconds.items()} if reason is None else {}
    return {"quality": quality, "latency": latency, "stages": shares, "drift": drift}


@contextmanager
def _watched(loaded: LoadedBundle) -> Iterator[dict[str, Watched]]:
    """Keep the calls of every sampler's network whose float32 trajectories the bundle has, by component."""
    own = dict(loaded.programs)
    watched = {}
    for name in loaded.manifest.components:
        path, program = _trajectory_file(loaded, name), loaded.record(name).name
        if path.is_file():
            with safe_open(path, "numpy") as file:
                _, state, time_name = next(iter(file.keys())).split(".")
            watched[name] = Watched(own[program], state, time_name)
            loaded.programs[program] = watched[name]
    try:
        yield watched
    finally:
        loaded.programs |= own


def _trajectory_file(loaded: LoadedBundle, component: str) -> Path:
    return loaded.folder / "golden" / f"{component}.trajectory.safetensors"


def of_prompt(arrays: Mapping[str, np.ndarray], k: int) -> dict[str, np.ndarray]:
    """The golden arrays of prompt `k`, by name, of a file `assets.safetensors`."""
    return {name.partition(".")[2]: value for name, value in arrays.items() if name.startswith(f"{k}.")}


def _quality(made: Mapping[str, Any], reference: Mapping[str, np.ndarray]) -> Facts:
    """Scores of every asset by name."""
    found: Facts = {}
    for kind, asset in made.items():
        own = {n.partition(".")[2]: a for n, a in reference.items() if n.startswith(f"{kind}.")}
        module = kinds.of(kind)
        for score in module.scores(asset, module.from_arrays(own)):
            value = float(score.value)
            found[score.name] = value if np.isfinite(value) else str(value)
    return found


class PeakMemory:
    """Peak resident memory of this process from creation to `read`, above what it used at creation (Linux)."""

    def __init__(self) -> None:
        self.start = self._field("VmRSS")
        try:
            Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM to the present size
            self.reason = None if self.start is not None else "no /proc/self/status on this system"
        except OSError as error:
            self.reason = f"the peak cannot be reset on this system ({error.strerror})"

    def read(self) -> Facts:
        """{"kind": "measured", "bytes": ..., "where": "host"}, or unmeasured with the reason."""
        peak = self._field("VmHWM")
        if self.reason is not None or peak is None or self.start is None:
            return {"kind": "unmeasured", "reason": self.reason}
        return {"kind": "measured", "bytes": max(0, peak - self.start), "where": "host"}

    @staticmethod
    def _field(name: str) -> int | None:
        path = Path("/proc/self/status")
        lines = path.read_text().splitlines() if path.is_file() else []
        return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)


def _cpu_name() -> str:
    return host()["processor"] or platform.machine()


def main(arguments: Sequence[str]) -> int:
    """Measure the bundle `arguments[0]` into the folder `arguments[1]`; errors go to `measured.json` too."""
    folder, out = Path(arguments[0]), Path(arguments[1])
    result, code = Path(out) / "measured.json", 0
    try:
        text = json.dumps(measure_bundle(folder, out))
    except GenExportError as error:
        text, code = json.dumps({"error": type(error).__name__, "message": str(error)}), error.exit_code
    result.write_text(text)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
