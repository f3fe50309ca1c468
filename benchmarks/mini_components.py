"""trellis-mini's components on every runtime that runs here, in one process with fixed threads.

`python benchmarks/mini_components.py` times eager fp32 and bf16, torch.compile, cpu-aoti, ExecuTorch fp32 and int8,
ONNX Runtime and JAX on the CPU in interleaved rounds, prints a table of ratios to eager fp32 and writes
`benchmarks/results/mini_components.json`. Programs are lowered into a temporary folder and loaded from there.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--rounds", type=int, default=15)
parser.add_argument("--only", nargs="*", default=[], help="variants to time besides eager fp32")
ARGUMENTS = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(ARGUMENTS.threads)  # before any runtime starts its threads

import array_api_compat.numpy as numpy_xp  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from gen3dexport import backends, models  # noqa: E402
from gen3dexport.backends import ProgramRecord, TensorSpec  # noqa: E402
from gen3dexport.export import Captured  # noqa: E402
from gen3dexport.metrics import tensor_error  # noqa: E402
from gen3dexport.models import Request  # noqa: E402
from gen3dexport.models.component import Component  # noqa: E402
from gen3dexport.provenance import host, versions  # noqa: E402
from gen3dexport.recipe import read_recipe  # noqa: E402
from gen3dexport.record import record  # noqa: E402
from gen3dexport.runtime.pipeline import to_numpy  # noqa: E402
from gen3dexport.target import read_target  # noqa: E402

RESULT = Path(__file__).parent / "results" / "mini_components.json"
Call = Callable[[], Mapping[str, np.ndarray]]

# name -> (target, scheme); the eager ones are made of the module itself.
LOWERED = {
    "cpu-aoti fp32": ("cpu-aoti", "fp32"),
    "cpu-aoti int8-dynamic": ("cpu-aoti", "int8-dynamic"),
    "executorch fp32": ("executorch", "fp32"),
    "executorch int8-dynamic": ("executorch", "int8-dynamic"),
    "onnxruntime fp32": ("onnx", "fp32"),
    "JAX CPU fp32": ("tpu", "fp32"),
}


def components() -> list[Component]:
    """trellis-mini's components with the inputs of a real asset."""
    recipe = read_recipe("trellis-mini")
    folder, pipeline, loading = recipe.weights_folder(), models.pipeline("trellis"), models.loading("trellis")
    settings = pipeline.read_settings(folder, recipe.sampler)
    files = pipeline.host_files(settings)["tokenizer.json"].parent
    states = [pipeline.begin(settings, Request(recipe.golden.prompts[0], 0), files, numpy_xp)]
    found = []
    for name in pipeline.components(settings):
        recording = record(loading.load(name, settings, folder), pipeline, settings, states, assets=True)
        states = list(recording.states)
        found.append(recording.component)
    return found


def variants(component: Component, folder: Path) -> tuple[dict[str, Call], dict[str, int], dict[str, str]]:
    """Calls by variant, bytes on disk by variant, and why others are missing."""
    weights = sum(p.numel() * p.element_size() for p in component.module.state_dict().values())
    calls: dict[str, Call] = {"eager fp32": eager(component.module, component)}
    sizes, missing = {"eager fp32": weights}, {}
    if hasattr(component.module, "set_block_dtype"):
        half = copy.deepcopy(component.module)
        half.set_block_dtype(torch.bfloat16)
        calls["eager bf16"] = eager(half, component)
        sizes["eager bf16"] = sum(p.numel() * p.element_size() for p in half.state_dict().values())
    compiled = torch.compile(copy.deepcopy(component.module))
    calls["torch.compile fp32"], sizes["torch.compile fp32"] = eager(compiled, component), weights
    for name, (target, scheme) in LOWERED.items():
        if ARGUMENTS.only and name not in ARGUMENTS.only:
            continue
        try:
            calls[name], sizes[name] = lowered(component, target, scheme, folder / name.replace(" ", "-"))
        except Exception as error:  # a scheme that a component cannot take is a row of the table, with the reason
            missing[name] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return calls, sizes, missing


def eager(module: Any, component: Component) -> Call:
    """A call of a torch module."""
    inputs = tuple(component.inputs.values())

    def call() -> Mapping[str, np.ndarray]:
        with torch.no_grad():
            result = module(*inputs)
        return {component.outputs[0]: (result[0] if isinstance(result, tuple) else result).float().numpy()}

    return call


def lowered(component: Component, target_name: str, scheme: str, folder: Path) -> tuple[Call, int]:
    """A call of the component lowered for a target and loaded from disk, and its bytes there."""
    folder.mkdir(parents=True)
    target = read_target(target_name)
    backend, options = backends.find(target.backend), target.backend_options()
    own = Component(
        component.name, copy.deepcopy(component.module), component.inputs, component.outputs, component.stack
    )
    own = own if scheme == "fp32" else backend.quantize(own, scheme, options)
    made = backend.lower(Captured(own), options, folder)
    spec = {
        k: TensorSpec(shape=tuple(v.shape), dtype=str(v.dtype).removeprefix("torch.")) for k, v in own.inputs.items()
    }
    outputs = {k: TensorSpec(shape=tuple(v.shape), dtype="float32") for k, v in component.run().items()}
    program = backend.load(
        folder,
        ProgramRecord(
            name=own.name, component=own.name, files=made.files, inputs=spec, outputs=outputs, facts=dict(made.facts)
        ),
    )
    inputs = {k: program.xp.asarray(v.numpy()) for k, v in component.inputs.items()}
    return lambda: to_numpy(program(inputs)), sum((folder / f).stat().st_size for f in made.files)


def measure(calls: Mapping[str, Call], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every call, one of each per round, after two rounds that do not count."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 2):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if number >= 2:
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


def main() -> None:
    """Time every component and print one table each."""
    torch.set_num_threads(ARGUMENTS.threads)
    rows: list[dict[str, Any]] = []
    for component in components():
        with tempfile.TemporaryDirectory() as scratch:
            calls, sizes, missing = variants(component, Path(scratch))
            reference = calls["eager fp32"]()
            times = measure(calls, ARGUMENTS.rounds)
            base = float(np.percentile(times["eager fp32"], 50))
            for name, values in times.items():
                p50, p90, p99 = (float(np.percentile(values, q)) for q in (50, 90, 99))
                error = max(tensor_error(v, reference[k]).relative_l2 for k, v in calls[name]().items())
                row = {"component": component.name, "variant": name, "kind": "measured", "bytes": sizes[name]}
                rows.append(
                    {**row, "p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "ratio": p50 / base, "relative_l2": error}
                )
            rows += [
                {"component": component.name, "variant": n, "kind": "unmeasured", "reason": r}
                for n, r in missing.items()
            ]
    table = Table("component", "variant", "MB", "p50 ms", "p90", "× eager fp32", "rel. L2")
    for row in rows:
        if row["kind"] == "measured":
            numbers = (
                f"{row['bytes'] / 1e6:.2f}",
                f"{row['p50_ms']:.2f}",
                f"{row['p90_ms']:.2f}",
                f"{row['ratio']:.2f}",
            )
            table.add_row(row["component"], row["variant"], *numbers, f"{row['relative_l2']:.1e}")
        else:
            table.add_row(row["component"], row["variant"], "–", "–", "–", "–", row["reason"])
    Console(width=140).print(table)
    RESULT.parent.mkdir(exist_ok=True)
    settings = {"threads": ARGUMENTS.threads, "rounds": ARGUMENTS.rounds, "host": host(), "versions": versions()}
    RESULT.write_text(json.dumps({**settings, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
