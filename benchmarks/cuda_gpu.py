"""On a GPU host: native and deviceless CUDA packages against eager torch, on the same inputs and the same torch.

    python benchmarks/cuda_gpu.py [--blocks 24] [--schemes bf16 int8-dynamic ...] [--runs 100] [--device cpu]

For each scheme the released structure flow (random weights) is built twice, each time in a fresh process: natively, and
without a GPU (the child gets no CUDA device). Both packages are loaded from disk and compared with the eager model in
the same scheme: error, latency (p50, p90, p99 over `--runs` calls, synchronised), device memory, build time. In bf16 on
a GPU the model also runs through torch.compile, as it is and with max-autotune.
Prints a table, and how each package stands to bf16 (eager and the faster compiled); writes
benchmarks/results/cuda_gpu_DEVICE.json.

Needs a checkout (or the wheel) of this package, torch with CUDA of a version that deviceless builds are checked on,
Triton, a C++ compiler, and what `--check` lists; int8-weight and float8-weight need torchao (carry its wheel:
pip install --no-deps).
`--device cpu` runs the same script on a CPU with the small golden size, so that it is tested where there is no GPU.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))  # runs from a bare checkout

import result_file

RESULTS = Path(__file__).parent / "results"
COMPILED = {"torch.compile": None, "max-autotune": "max-autotune"}  # name -> mode
NETWORK = "ss_flow_img_dit_L_16l8_fp16"
NEEDED = ("torch", "numpy", "pydantic", "safetensors", "array_api_compat", "platformdirs", "filelock", "ruamel.yaml")


def missing(schemes: list[str]) -> list[str]:
    """Packages that are not installed here."""
    wanted = (*NEEDED, *(("torchao",) if {"int8-weight", "float8-weight"} & {*schemes} else ()))
    lacking = []
    for name in wanted:
        try:
            found = importlib.util.find_spec(name) is not None
        except ModuleNotFoundError:
            found = False
        if not found:
            lacking.append(name)
    return lacking


def example(tiny: bool) -> dict[str, Any]:
    """Seeded inputs of the flow."""
    import torch

    torch.manual_seed(0)
    side, cond = (8, (11, 48)) if tiny else (16, (1374, 1024))
    return {"x": torch.randn(1, 8, side, side, side), "t": torch.tensor([500.0]), "cond": torch.randn(1, *cond)}


def component(blocks: int, tiny: bool) -> Any:
    """The flow with seeded random weights; the golden sets' size when `tiny`."""
    from gen3dexport.models.component import Component
    from gen3dexport.models.trellis.host.configs import NETWORKS
    from gen3dexport.models.trellis.networks.loading import random_network

    name, args = NETWORKS["ss_flow_tiny" if tiny else NETWORK]
    module = random_network(name, {**args, "num_blocks": blocks})
    return Component("flow", module, example(tiny), ("v",), stack="blocks")


def options(device: str) -> Any:
    """The backend's options for this machine's device."""
    import torch

    from gen3dexport.backends import aotinductor

    if device == "cpu":
        return aotinductor.Options(min_features=64)
    arch = os.environ.get("GEN3DEXPORT_BENCH_ARCH") or "sm_{}{}".format(*torch.cuda.get_device_capability(0))
    return aotinductor.Options(device="cuda", arch=arch, rest="fp16")


def build(given: argparse.Namespace, out: Path) -> None:
    """Build one package in this process; writes the package and record.json into `out`."""
    from gen3dexport.backends import aotinductor
    from gen3dexport.bundle.program import ProgramRecord, TensorSpec
    from gen3dexport.export import Captured

    chosen = options(given.device)
    made = aotinductor.quantize(component(given.blocks, given.device == "cpu"), given.scheme, chosen)
    start = time.perf_counter()
    lowered = aotinductor.lower(Captured(made), chosen, out)
    seconds = time.perf_counter() - start
    shape = tuple(made.inputs["x"].shape)
    record = ProgramRecord(
        name=made.name,
        component=made.name,
        files=lowered.files,
        inputs={k: TensorSpec(shape=tuple(v.shape), dtype="float32") for k, v in made.inputs.items()},
        outputs={"v": TensorSpec(shape=shape, dtype="float32")},
        scheme=given.scheme,
        requires=lowered.requires.model_dump(mode="json"),
        facts={**lowered.facts, "build_s": seconds},
        unmeasured=lowered.unmeasured,
    )
    (out / "record.json").write_text(record.model_dump_json())


def latency(call: Callable[[], Any], device: str, runs: int) -> dict[str, float]:
    """Percentiles of a call in milliseconds, each waited for, and the device memory in use afterwards (with the CUDA
    context and everything that torch keeps: one program per process, so this is the program's own peak)."""
    import numpy as np
    import torch

    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    for _ in range(max(3, runs // 10)):
        call()
    wait()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        wait()
        times.append(1e3 * (time.perf_counter() - start))
    p50, p90, p99 = (float(np.percentile(times, q)) for q in (50, 90, 99))
    free, total = torch.cuda.mem_get_info() if device == "cuda" else (0, 0)
    return {"p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "device_bytes": total - free}


def run(given: argparse.Namespace) -> dict[str, Any]:
    """One program of one scheme in this process: the eager model, or the package in `given.folder`."""
    from safetensors.torch import load_file, save_file

    expected = given.folder.parent / "expected.safetensors"
    if given.folder.name in ("eager", *COMPILED):
        call, facts = _eager(given, expected)
    else:
        call, facts = _package(given)
    output = call().double().cpu().contiguous()
    known = load_file(expected)
    if "eager" not in known:
        save_file(known := {**known, "eager": output}, expected)
    return {
        "program": given.folder.name,
        "scheme": given.scheme,
        "relative_l2_fp32": float((output - known["fp32"]).norm() / known["fp32"].norm()),
        "relative_l2_eager": float((output - known["eager"]).norm() / known["eager"].norm()),
        "max_abs_eager": float((output - known["eager"]).abs().max()),
        **latency(call, given.device, given.runs),
        **{k: facts.get(k) for k in ("build_s", "package_bytes", "cubins", "build", "attention", "weights")},
    }


def _eager(given: argparse.Namespace, expected: Path) -> tuple[Callable[[], Any], dict[str, Any]]:
    import torch
    from safetensors.torch import save_file

    from gen3dexport.backends import aotinductor

    made = component(given.blocks, given.device == "cpu")
    save_file(
        {"fp32": made.run()["v"].double().contiguous()}, expected
    )  # float32 on the CPU, before anything is quantized
    made = aotinductor.quantize(made, given.scheme, options(given.device))
    module: Any = made.module.to(given.device)
    if given.folder.name in COMPILED:
        module = torch.compile(module, mode=COMPILED[given.folder.name])
    inputs = [value.to(given.device) for value in made.inputs.values()]

    def call() -> Any:
        with torch.inference_mode():
            return module(*inputs)

    return call, {}


def _package(given: argparse.Namespace) -> tuple[Callable[[], Any], dict[str, Any]]:
    from gen3dexport.backends import aotinductor
    from gen3dexport.bundle.program import ProgramRecord

    record = ProgramRecord.model_validate_json((given.folder / "record.json").read_text())
    program = aotinductor.load(given.folder, record)
    inputs = {k: v.to(given.device) for k, v in example(given.device == "cpu").items()}
    return lambda: program(inputs)["v"], record.facts


def child(given: argparse.Namespace, *arguments: str, hidden: bool = False) -> str:
    """Run this script again in a fresh process, with or without the GPU."""
    environment = dict(os.environ)
    if given.device == "cuda":
        import torch

        environment["GEN3DEXPORT_BENCH_ARCH"] = "sm_{}{}".format(*torch.cuda.get_device_capability(0))
    if hidden:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    command = [sys.executable, __file__, "--device", given.device, "--blocks", str(given.blocks)]
    command += ["--runs", str(given.runs), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


def measure(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Every scheme: packages built in a process each, then every program run in a process of its own."""
    rows = []
    for scheme in given.schemes:
        with tempfile.TemporaryDirectory() as name:
            kinds = ("native", "deviceless") if given.device == "cuda" else ("native",)
            compiled = tuple(COMPILED) if scheme == "bf16" and given.device == "cuda" else ()
            for kind in ("eager", *compiled, *kinds):
                folder = Path(name) / kind
                folder.mkdir()
                chosen = ["--scheme", scheme, "--folder", str(folder)]
                if kind in kinds:
                    child(given, "--build", *chosen, hidden=kind == "deviceless")
                rows.append(json.loads(child(given, "--run", *chosen).splitlines()[-1]))
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows for people."""
    head = [
        "scheme",
        "program",
        "rel. L2 (fp32)",
        "rel. L2 (eager)",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "used MB",
        "build s",
    ]
    lines = [head] + [
        [
            r["scheme"],
            r["program"],
            f"{r['relative_l2_fp32']:.1e}",
            f"{r['relative_l2_eager']:.1e}",
            *(f"{r[k]:.2f}" for k in ("p50_ms", "p90_ms", "p99_ms")),
            f"{r['device_bytes'] / 1e6:.0f}",
            f"{r['build_s']:.0f}" if r["build_s"] else "-",
        ]
        for r in rows
    ]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in lines)


def ratios(rows: list[dict[str, Any]]) -> list[str]:
    """Each package's time and memory as shares of bf16's: eager, and the faster compiled."""
    bf16 = {row["program"]: row for row in rows if row["scheme"] == "bf16"}
    if not {"eager", *COMPILED} <= {*bf16}:
        return []
    eager, compiled = bf16["eager"], min((bf16[name] for name in COMPILED), key=lambda row: row["p50_ms"])
    return [
        f"{row['scheme']} {row['program']}: {eager['p50_ms'] / row['p50_ms']:.2f} times as fast as eager bf16, "
        f"{compiled['p50_ms'] / row['p50_ms']:.2f} times as fast as compiled bf16, "
        f"{row['device_bytes'] / eager['device_bytes']:.2f} of eager bf16's memory"
        for row in rows
        if row["program"] in ("native", "deviceless")
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--blocks", type=int, default=None, help="of the flow; default 24, on the CPU 1")
    parser.add_argument("--schemes", nargs="+", default=None, help="default fp32 on a CPU, else five")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--check", action="store_true", help="only say what is missing here")
    for name in ("--build", "--run"):
        parser.add_argument(name, action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--scheme", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    cpu = given.device == "cpu"
    given.blocks = given.blocks or (1 if cpu else 24)
    if given.build:
        build(given, given.folder)
        return
    if given.run:
        print(json.dumps(run(given)))
        return
    if given.schemes is None:
        given.schemes = ["fp32"] if cpu else ["fp16", "bf16", "int8-dynamic", "float8-dynamic", "int4-weight"]
    problems = [f"{name}: not installed" for name in missing(given.schemes)]
    if not problems:
        from gen3dexport.backends.aotinductor import toolchain

        problems = toolchain.missing(given.device)
        if not cpu:
            import torch

            if not torch.cuda.is_available():
                problems.append("no CUDA device; run this on a GPU host, or with --device cpu")
    if problems or given.check:
        print("\n".join(problems) or "nothing is missing")
        sys.exit(3 if problems else 0)
    import torch

    rows = measure(given)
    device = f"{platform.machine()} CPU" if cpu else torch.cuda.get_device_name(0)
    print(table(rows))
    print(*ratios(rows), sep="\n")
    facts = {
        "device": device,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "network": "ss_flow_tiny" if cpu else NETWORK,
        "blocks": given.blocks,
        "runs": given.runs,
        "rows": rows,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"cuda_gpu_{'cpu' if cpu else device.replace(' ', '_')}.json"
    result_file.write(path, __file__, facts, None if cpu else device)
    print(f"written to {path}")


if __name__ == "__main__":
    main()
