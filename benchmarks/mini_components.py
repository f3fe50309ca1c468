"""trellis-mini's components on every runtime that runs here, in one run with fixed threads.

`python benchmarks/mini_components.py` times eager fp32 and bf16, torch.compile, cpu-aoti, ExecuTorch, ONNX Runtime and
JAX on the CPU, prints a table of ratios to eager fp32 and writes `benchmarks/results/mini_components.json`. Every
variant lives in a process of its own (vendors' packages change torch for a whole process, and their idle threads spin);
the processes stay loaded and take turns, a few calls each per round. Programs are lowered into a temporary folder and
loaded from there.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from gen3dexport.metrics import tensor_error
from gen3dexport.provenance import host, versions

RESULT = Path(__file__).parent / "results" / "mini_components.json"
COMPONENTS = ("text_encoder", "flow", "decoder")
CALLS = 5  # of one variant in one round; the first of them warms the caches and does not count
Call = Callable[[], Mapping[str, np.ndarray]]

# name -> (target, scheme); the first three are made of the module itself.
VARIANTS: dict[str, tuple[str, str] | None] = {
    "eager fp32": None,
    "eager bf16": None,
    "torch.compile fp32": None,
    "cpu-aoti fp32": ("cpu-aoti", "fp32"),
    "cpu-aoti int8-dynamic": ("cpu-aoti", "int8-dynamic"),
    "executorch fp32": ("executorch", "fp32"),
    "executorch int8-dynamic": ("executorch", "int8-dynamic"),
    "onnxruntime fp32": ("onnx", "fp32"),
    "onnxruntime int8-dynamic": ("onnx", "int8-dynamic"),
    "JAX CPU fp32": ("tpu", "fp32"),
}


def components() -> dict[str, Any]:
    """trellis-mini's components with the inputs of a real asset."""
    import array_api_compat.numpy as numpy_xp

    from gen3dexport import models
    from gen3dexport.models import Request
    from gen3dexport.recipe import read_recipe
    from gen3dexport.record import record

    recipe = read_recipe("trellis-mini")
    folder, pipeline, loading = recipe.weights_folder(), models.pipeline("trellis"), models.loading("trellis")
    settings = pipeline.read_settings(folder, recipe.sampler)
    files = pipeline.host_files(settings)["tokenizer.json"].parent
    states = [pipeline.begin(settings, Request(recipe.golden.prompts[0], 0), files, numpy_xp)]
    found = {}
    for name in pipeline.components(settings):
        recording = record(loading.load(name, settings, folder), pipeline, settings, states, assets=True)
        states = list(recording.states)
        found[name] = recording.component
    return found


def serve(pipe: Connection, variant: str, name: str, threads: int) -> None:
    """A variant's process: prepares the call, then times `CALLS` calls for every message until told to stop."""
    import torch

    torch.set_num_threads(threads)
    component = components()[name]
    with tempfile.TemporaryDirectory() as scratch:
        try:
            call, size = prepare(component, variant, Path(scratch))
            outputs = call()
        except Exception as error:  # a scheme that a component cannot take is a row of the table, with the reason
            pipe.send(f"{type(error).__name__}: {str(error).splitlines()[0]}")
            return
        pipe.send((size, {key: np.asarray(value) for key, value in outputs.items()}))
        while pipe.recv():
            times = []
            for _ in range(CALLS):
                start = time.perf_counter()
                call()
                times.append(1e3 * (time.perf_counter() - start))
            pipe.send(times[1:])


def prepare(component: Any, variant: str, folder: Path) -> tuple[Call, int]:
    """The call of a variant and its bytes (on disk; of the parameters, where it stays a module)."""
    import torch

    lowering = VARIANTS[variant]
    if lowering is not None:
        return lowered(component, *lowering, folder)
    module = component.module
    if variant == "eager bf16":
        if not hasattr(module, "set_block_dtype"):
            raise ValueError("this network runs in float32 only")
        module.set_block_dtype(torch.bfloat16)
    size = sum(p.numel() * p.element_size() for p in module.state_dict().values())
    return eager(torch.compile(module) if variant == "torch.compile fp32" else module, component), size


def eager(module: Any, component: Any) -> Call:
    """A call of a torch module."""
    import torch

    inputs = tuple(component.inputs.values())

    def call() -> Mapping[str, np.ndarray]:
        with torch.no_grad():
            result = module(*inputs)
        return {component.outputs[0]: (result[0] if isinstance(result, tuple) else result).float().numpy()}

    return call


def lowered(component: Any, target_name: str, scheme: str, folder: Path) -> tuple[Call, int]:
    """A call of the component lowered for a target and loaded from disk, and its bytes there."""
    from gen3dexport import backends
    from gen3dexport.backends import ProgramRecord, TensorSpec
    from gen3dexport.export import Captured
    from gen3dexport.models.component import Component
    from gen3dexport.runtime.pipeline import to_numpy
    from gen3dexport.target import read_target

    target = read_target(target_name)
    backend, options = backends.find(target.backend), target.backend_options()
    results = component.run()
    own = Component(
        component.name, copy.deepcopy(component.module), component.inputs, component.outputs, component.stack
    )
    own = own if scheme == "fp32" else backend.quantize(own, scheme, options)
    made = backend.lower(Captured(own), options, folder)
    spec = {
        k: TensorSpec(shape=tuple(v.shape), dtype=str(v.dtype).removeprefix("torch.")) for k, v in own.inputs.items()
    }
    outputs = {k: TensorSpec(shape=tuple(v.shape), dtype="float32") for k, v in results.items()}
    program = backend.load(
        folder,
        ProgramRecord(
            name=own.name, component=own.name, files=made.files, inputs=spec, outputs=outputs, facts=dict(made.facts)
        ),
    )
    inputs = {k: program.xp.asarray(v.numpy()) for k, v in component.inputs.items()}
    return lambda: to_numpy(program(inputs)), sum((folder / f).stat().st_size for f in made.files)


def measure(name: str, variants: list[str], threads: int, rounds: int) -> list[dict[str, Any]]:
    """Rows of one component: every variant prepared one after another, then timed in turns."""
    context = multiprocessing.get_context("spawn")
    pipes, answers = {}, {}
    workers = []
    for variant in variants:
        pipe, other = context.Pipe()
        worker = context.Process(target=serve, args=(other, variant, name, threads))
        worker.start()
        other.close()
        workers.append(worker)
        try:
            answers[variant] = pipe.recv()
        except EOFError:
            answers[variant] = f"its process ended with code {worker.exitcode}"
        if not isinstance(answers[variant], str):
            pipes[variant] = pipe
        print(f"{name}: {variant}: {answers[variant] if isinstance(answers[variant], str) else 'ready'}", flush=True)
    times: dict[str, list[float]] = {variant: [] for variant in pipes}
    for number in range(rounds + 1):
        for variant, pipe in pipes.items():
            pipe.send(True)
            found = pipe.recv()
            if number:  # the first round warms up
                times[variant] += found
    for pipe in pipes.values():
        pipe.send(False)
    for worker in workers:
        worker.join()
    reference, base = answers["eager fp32"][1], float(np.percentile(times["eager fp32"], 50))
    return [row(name, variant, answers[variant], times.get(variant, []), reference, base) for variant in variants]


def row(
    name: str, variant: str, answer: Any, times: list[float], reference: Mapping[str, np.ndarray], base: float
) -> dict[str, Any]:
    """One row of the table: measured, or why not."""
    if isinstance(answer, str):
        return {"component": name, "variant": variant, "kind": "unmeasured", "reason": answer}
    size, outputs = answer
    p50, p90, p99 = (float(np.percentile(times, q)) for q in (50, 90, 99))
    error = max(tensor_error(v, reference[k]).relative_l2 for k, v in outputs.items())
    found = {"component": name, "variant": variant, "kind": "measured", "bytes": size, "calls": len(times)}
    return {**found, "p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "ratio": p50 / base, "relative_l2": error}


def main() -> None:
    """Time every component and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", nargs="*", default=[], help="variants to time besides eager fp32")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # inherited by every variant's process
    variants = [v for v in VARIANTS if v == "eager fp32" or not arguments.only or v in arguments.only]
    rows = [r for name in COMPONENTS for r in measure(name, variants, arguments.threads, arguments.rounds)]
    table = Table("component", "variant", "MB", "p50 ms", "p90", "× eager fp32", "rel. L2")
    for found in rows:
        if found["kind"] == "measured":
            numbers = (f"{found['bytes'] / 1e6:.2f}", f"{found['p50_ms']:.2f}", f"{found['p90_ms']:.2f}")
            table.add_row(
                found["component"], found["variant"], *numbers, f"{found['ratio']:.2f}", f"{found['relative_l2']:.1e}"
            )
        else:
            table.add_row(found["component"], found["variant"], "–", "–", "–", "–", found["reason"])
    Console(width=150).print(table)
    RESULT.parent.mkdir(exist_ok=True)
    settings = {"threads": arguments.threads, "rounds": arguments.rounds, "host": host(), "versions": versions()}
    RESULT.write_text(json.dumps({**settings, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
