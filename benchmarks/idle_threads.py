"""What idle threads cost: a flow's call where they spin and where they sleep, on a machine of its own and a shared one.

    python benchmarks/idle_threads.py ONNX_BUNDLE CPU_AOTI_BUNDLE [--rounds 5] [--calls 20] [--threads 2]

Each variant is a process of its own with the bundle's own loader, and they take turns. `alone`: nothing else is
started; `shared`: as many processes as there are cores count in a loop meanwhile. A row has the load average at its
start, which tells whether anything else ran. Writes benchmarks/results/idle_threads.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import result_file

RESULT = Path(__file__).parent / "results" / "idle_threads.json"
COMPONENT = "flow"
PAUSE_S = 0.3
BUSY = "while True: pass"


def serve(bundle: str, idle: str, calls: int) -> None:
    """Load the flow with that kind of idle threads, then time calls whenever asked; the work of a variant's process."""
    from safetensors.numpy import load_file

    from gen3dexport import backends
    from gen3dexport.runtime import load

    loaded = load(bundle)
    record = loaded.manifest.component(COMPONENT)
    record = record.model_copy(update={"requires": {**record.requires, "idle_threads": idle}})
    program = backends.find(loaded.manifest.target["backend"]).load(loaded.folder / "programs", record)
    golden = load_file(loaded.folder / "golden" / f"{COMPONENT}.safetensors")
    inputs = {name: program.xp.asarray(golden[f"0.in.{name}"]) for name in record.inputs}
    for _ in range(5):
        program(inputs)
    print("ready", flush=True)
    for _ in sys.stdin:
        times, cpu = [], time.process_time()
        for _ in range(calls):
            start = time.perf_counter()
            program(inputs)
            times.append(1e3 * (time.perf_counter() - start))
        cpu = 1e3 * (time.process_time() - cpu) / calls
        print(json.dumps({"times": times, "cpu_ms": cpu}), flush=True)


@contextmanager
def variant(bundle: Path, idle: str, options: argparse.Namespace) -> Iterator[tuple[IO[str], IO[str]]]:
    """The process of a variant: where it is asked, and where it answers."""
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    environment["OMP_NUM_THREADS"] = str(options.threads)
    command = [sys.executable, __file__, "--serve", str(bundle), idle, "--calls", str(options.calls)]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "ready\n", f"{bundle}: its process ended before it was ready"
        yield process.stdin, process.stdout
        process.stdin.close()


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that count in a loop."""
    started = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundles", type=Path, nargs="*", help="bundles of trellis-mini for onnx and cpu-aoti")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=20, help="of each variant in each round")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--serve", nargs=2, metavar=("BUNDLE", "IDLE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(*options.serve, options.calls)
    rows: list[dict[str, Any]] = []
    for state, others in (("alone", 0), ("shared", os.cpu_count() or 2)):
        for bundle in options.bundles:
            rows += [{"state": state, **row} for row in of_bundle(bundle, others, options)]
    content = {"basis": "measured", "threads": options.threads, "calls": options.calls, "rounds": options.rounds}
    result_file.write(RESULT, __file__, {**content, "busy_processes": os.cpu_count() or 2, "rows": rows})


def of_bundle(bundle: Path, others: int, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for each kind of idle threads."""
    from gen3dexport.bundle.manifest import read_manifest

    target = read_manifest(bundle).target["name"]
    answers: dict[str, list[dict[str, Any]]] = {"spin": [], "sleep": []}
    with ExitStack() as stack:
        load_average = os.getloadavg()[0]
        pipes = {idle: stack.enter_context(variant(bundle, idle, options)) for idle in answers}
        stack.enter_context(busy(others))
        for _ in range(options.rounds):
            for idle, (ask, answer) in pipes.items():
                time.sleep(PAUSE_S)
                print(file=ask, flush=True)
                answers[idle].append(json.loads(answer.readline()))
    for idle, found in answers.items():
        times = [t for a in found for t in a["times"]]
        p50, p90 = (float(np.percentile(times, q)) for q in (50, 90))
        cpu = float(np.median([a["cpu_ms"] for a in found]))
        row = {"target": target, "component": COMPONENT, "idle_threads": idle, "load_average": load_average}
        row |= {"p50_ms": p50, "p90_ms": p90, "min_ms": min(times), "cpu_ms": cpu}
        print(f"{target} {idle} beside {others}: p50 {p50:.1f} p90 {p90:.1f} cpu {cpu:.1f} ms, load {load_average:.1f}")
        yield row


if __name__ == "__main__":
    main()
