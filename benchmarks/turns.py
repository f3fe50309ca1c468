"""Timing variants of one network fairly: each in a process of its own, prepared once, then a few calls each in turns.

Vendors' packages change torch for a whole process, and the idle threads of one runtime spin on the cores of the next;
processes that take turns with a pause between them share nothing but the machine.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from gen3dexport.tensor_error import tensor_error

Call = Callable[[], Mapping[str, np.ndarray]]
Prepare = Callable[[Path], tuple[Call, int]]  # a scratch folder -> the call and its bytes
PAUSE_S = 0.2


@dataclass
class Turns:
    """What one variant did.

    Attributes:
        bytes: of its program or parameters; outputs: of its first call; times: milliseconds of its calls; cpu_times:
            milliseconds of CPU that its process used in them, which other work on the machine lengthens less.
        facts: what the call says of itself at the end, if it has a method `facts` (its memory, its parts' times).
        reason: why it could not run, or None.
    """

    bytes: int = 0
    outputs: Mapping[str, np.ndarray] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    cpu_times: list[float] = field(default_factory=list)
    facts: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None

    def row(self, reference: Turns) -> dict[str, Any]:
        """Percentiles, the ratio to the reference's median, and the error against its outputs."""
        if self.reason is not None:
            return {"basis": "unmeasured", "reason": self.reason}
        p50, p90, p99 = (float(np.percentile(self.times, q)) for q in (50, 90, 99))
        errors = [tensor_error(self.outputs[k], v) for k, v in reference.outputs.items()]
        return {
            "basis": "measured",
            "bytes": self.bytes,
            "calls": len(self.times),
            "p50_ms": p50,
            "p90_ms": p90,
            "p99_ms": p99,
            "min_ms": min(self.times),
            "ratio": p50 / float(np.percentile(reference.times, 50)),
            "ratio_of_minima": min(self.times) / min(reference.times),
            "relative_l2": max(e.relative_l2 for e in errors),
            "cosine": min(e.cosine for e in errors),
        }


def take_turns(variants: Mapping[str, Prepare], threads: int, rounds: int, calls: int = 5) -> dict[str, Turns]:
    """Prepare every variant in its turn, then time `calls` calls of each per round, the first fifth to warm up."""
    context = multiprocessing.get_context("spawn")
    pipes, found, workers = {}, {}, []
    for name, prepare in variants.items():
        pipe, other = context.Pipe()
        worker = context.Process(target=_serve, args=(other, prepare, threads, calls))
        worker.start()
        other.close()
        workers.append(worker)
        try:
            found[name] = pipe.recv()
        except EOFError:
            found[name] = Turns(reason="its process ended before it answered")
        if found[name].reason is None:
            pipes[name] = pipe
        print(f"{name}: {found[name].reason or 'ready'}", flush=True)
    for number in range(rounds + 1):
        for name, pipe in pipes.items():
            time.sleep(PAUSE_S)
            pipe.send(True)
            times, cpu_times = pipe.recv()
            if number:  # the first round warms up
                found[name].times += times
                found[name].cpu_times += cpu_times
    for name, pipe in pipes.items():
        pipe.send(False)
        found[name].facts = pipe.recv()
    for worker in workers:
        worker.join()
    return found


def _serve(pipe: Connection, prepare: Prepare, threads: int, calls: int) -> None:
    import torch

    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            call, size = prepare(Path(scratch))
            outputs = {key: np.asarray(value) for key, value in call().items()}
        except Exception as error:  # a scheme that a network cannot take is a row of the table, with the reason
            pipe.send(Turns(reason=f"{type(error).__name__}: {str(error).splitlines()[0]}"))
            return
        pipe.send(Turns(size, outputs))
        while pipe.recv():
            times, cpu_times = [], []
            for _ in range(calls):
                start, used = time.perf_counter(), time.process_time()
                call()
                times.append(1e3 * (time.perf_counter() - start))
                cpu_times.append(1e3 * (time.process_time() - used))
            warm = max(1, calls // 5)
            pipe.send((times[warm:], cpu_times[warm:]))
        pipe.send(call.facts() if hasattr(call, "facts") else {})


def of_module(component: Any, module: Any) -> tuple[Call, int]:
    """A torch module on a component's inputs, and the bytes of its parameters."""
    import torch

    inputs = tuple(component.inputs.values())

    def call() -> Mapping[str, np.ndarray]:
        with torch.no_grad():
            result = module(*inputs)
        return {component.outputs[0]: (result[0] if isinstance(result, tuple) else result).float().numpy()}

    return call, sum(p.numel() * p.element_size() for p in module.state_dict().values())


def of_target(
    component: Any, target_name: str, scheme: str, folder: Path, rules: Mapping[str, str] | None = None
) -> tuple[Call, int]:
    """A component lowered for a target and loaded from disk, and its bytes there."""
    from gen3dexport.plan import read_target
    from gen3dexport.runtime.pipeline import to_numpy
    from gen3dexport.validation.one_component import through

    record, program = through(component, read_target(target_name), scheme, folder, rules)
    inputs = {k: program.xp.asarray(v.numpy()) for k, v in component.inputs.items()}
    return lambda: to_numpy(program(inputs)), sum((folder / f).stat().st_size for f in record.files)


def in_bf16(module: Any) -> Any:
    """A module in bfloat16: its blocks where it says how, all of it otherwise."""
    import torch

    if hasattr(module, "set_block_dtype"):
        module.set_block_dtype(torch.bfloat16)
        return module
    return module.to(torch.bfloat16)
