"""Build time of a released-size TRELLIS structure flow for ExecuTorch, by depth; and what the programs need to run.

    python benchmarks/executorch_depth.py [2 4 8 16 24] [--scheme int8-dynamic] [--whole] [--no-check] [--runs 3]

The network is ss_flow_img_dit_L (width 1024, 4096 tokens, 1374 context tokens) with random weights and each number
of blocks. Every step runs in a fresh process of its own: the build, the quantized eager model that the program is
compared with, and the program from disk. `--whole` lowers the whole graph instead of stamping one block. Everything is
measured on this machine except what is called estimated. Adds to benchmarks/results/executorch_depth.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import result_file

RESULT = Path(__file__).parent / "results" / "executorch_depth.json"
NETWORK = "ss_flow_img_dit_L_16l8_fp16"
GB = 1e9


def component(blocks: int) -> Any:
    """The flow with that many blocks and seeded random weights, at its released shapes."""
    import torch

    from gen3dexport.models.component import Component
    from gen3dexport.models.trellis.host.configs import NETWORKS
    from gen3dexport.models.trellis.networks.loading import random_network

    name, args = NETWORKS[NETWORK]
    module = random_network(name, {**args, "num_blocks": blocks})
    torch.manual_seed(1)
    inputs = {"x": torch.randn(1, 8, 16, 16, 16), "t": torch.tensor([500.0]), "cond": torch.randn(1, 1374, 1024)}
    return Component("ss_flow", module, inputs, ("v",), stack="blocks")


def build(blocks: int, scheme: str, whole: bool, folder: Path) -> dict[str, Any]:
    """Lower the network as `gen3dexport build` does it, in this process."""
    from gen3dexport.backends import find
    from gen3dexport.export import Captured

    backend = find("executorch")
    options = backend.Options(stamp_blocks=not whole)
    made = component(blocks)
    parameters = made.parameters
    made = backend.quantize(made, scheme, options)
    start, start_cpu = time.monotonic(), _cpu()
    lowered = backend.lower(Captured(made), options, folder)
    facts = lowered.facts
    (memory,) = lowered.estimates["run_memory_bytes"]
    return {
        "parameters": parameters,
        "build_s": time.monotonic() - start,
        "build_cpu_s": _cpu() - start_cpu,
        "build_peak_rss_bytes": _peak(),
        "stamped_blocks": facts["stamped_blocks"],
        "delegates": facts["delegation"]["delegates"],
        "operators_share_inside": facts["delegation"]["operators_share"],
        "flops": facts["delegation"]["flops"],
        "flops_share_inside": facts["delegation"]["flops_share"],
        "outside": facts["delegation"]["outside"],
        "planned_bytes": facts["planned_bytes"],
        "program_bytes": facts["program_bytes"],
        "estimated": {"run_memory_bytes": {"value": memory.value, "by": memory.by}},
    }


def reference(blocks: int, scheme: str, folder: Path) -> dict[str, Any]:
    """The output of the quantized eager model, as a file."""
    import numpy as np

    from gen3dexport.backends import find

    backend = find("executorch")
    made = backend.quantize(component(blocks), scheme, backend.Options())
    start = time.monotonic()
    np.save(folder / "reference.npy", made.run()["v"].numpy())
    return {"eager_quantized_s": time.monotonic() - start}


def run(blocks: int, runs: int, folder: Path) -> dict[str, Any]:
    """The program from disk: time, memory, and its error where there is a reference."""
    import numpy as np
    import torch

    from gen3dexport.backends import find
    from gen3dexport.bundle.program import ProgramRecord, TensorSpec

    torch.manual_seed(1)
    inputs = {"x": torch.randn(1, 8, 16, 16, 16), "t": torch.tensor([500.0]), "cond": torch.randn(1, 1374, 1024)}
    specs = {k: TensorSpec(shape=tuple(v.shape), dtype="float32") for k, v in inputs.items()}
    record = ProgramRecord(
        name="ss_flow", component="ss_flow", files=("ss_flow.pte",), inputs=specs, outputs={"v": specs["x"]}
    )
    backend = find("executorch")
    import gen3dexport.backends.executorch.own_runtime  # noqa: F401  (its own memory is not the program's)

    before, start = _peak(), time.monotonic()
    program = backend.load(folder, record)
    loaded, load_s = _peak(), time.monotonic() - start
    arrays = {k: v.numpy() for k, v in inputs.items()}
    times = []
    for _ in range(runs):
        start = time.monotonic()
        value = program(arrays)["v"]
        times.append(time.monotonic() - start)
    facts: dict[str, Any] = {
        "load_s": load_s,
        "run_s": times,
        "load_rss_bytes": loaded - before,
        "run_rss_bytes_above_loaded": _peak() - loaded,
        "run_peak_rss_bytes": _peak(),
        "finite": bool(np.isfinite(value).all()),
    }
    if (folder / "reference.npy").is_file():
        expected = np.load(folder / "reference.npy").astype(np.float64)
        facts["relative_l2_to_own_eager"] = float(np.linalg.norm(value - expected) / np.linalg.norm(expected))
    return facts


def _cpu() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _child(step: str, arguments: argparse.Namespace, blocks: int, folder: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--step", step, "--folder", str(folder), str(blocks)]
    command += ["--scheme", arguments.scheme, "--runs", str(arguments.runs)] + ["--whole"] * arguments.whole
    child = subprocess.run(command, capture_output=True, text=True)
    if child.returncode:
        raise SystemExit(f"{step} of {blocks} blocks failed:\n{child.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return result


def measure(arguments: argparse.Namespace, blocks: int) -> dict[str, Any]:
    """All steps for one depth."""
    load = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="gen3dexport-") as scratch:
        folder = Path(scratch)
        facts = _child("build", arguments, blocks, folder)
        estimated = facts.pop("estimated")
        if arguments.check:
            facts |= _child("reference", arguments, blocks, folder)
        facts |= _child("run", arguments, blocks, folder)
    facts["load_average_before"] = load
    key = {"network": NETWORK, "blocks": blocks, "scheme": arguments.scheme}
    way = "stamped" if facts["stamped_blocks"] else "whole graph"  # two blocks are not worth stamping
    return {**key, "way": way, "measured": facts, "estimated": estimated}


def table(entries: list[dict[str, Any]]) -> None:
    """Print what was measured so far."""
    from rich.console import Console
    from rich.table import Table

    view = Table(title=f"{NETWORK} for ExecuTorch, by depth (measured; * estimated)")
    columns = [
        "blocks",
        "scheme",
        "way",
        "parameters",
        "build s",
        "build CPU s",
        "build peak GB",
        "delegates",
        ".pte MB",
    ]
    columns += ["planned MB", "run memory MB*", "run RSS MB", "load s", "run s", "rel. L2"]
    for column in columns:
        view.add_column(column, justify="left" if column in ("scheme", "way") else "right")
    for entry in entries:
        m, memory = entry["measured"], entry["estimated"]["run_memory_bytes"]["value"]
        error = m.get("relative_l2_to_own_eager")
        view.add_row(
            *(str(entry[k]) for k in ("blocks", "scheme", "way")),
            f"{m['parameters'] / 1e6:.0f} M",
            f"{m['build_s']:.0f}",
            f"{m['build_cpu_s']:.0f}",
            f"{m['build_peak_rss_bytes'] / GB:.2f}",
            str(m["delegates"]),
            f"{m['program_bytes'] / 1e6:.0f}",
            f"{m['planned_bytes'] / 1e6:.0f}",
            f"{memory / 1e6:.0f}",
            f"{m['run_rss_bytes_above_loaded'] / 1e6:.0f}",
            f"{m['load_s']:.1f}",
            f"{min(m['run_s']):.1f}",
            "-" if error is None else f"{error:.1e}",
        )
    Console(width=180).print(view)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("blocks", nargs="*", type=int, default=[2, 4, 8, 16, 24])
    parser.add_argument("--scheme", default="int8-dynamic")
    parser.add_argument("--whole", action="store_true", help="lower the whole graph instead of stamping one block")
    parser.add_argument("--check", action=argparse.BooleanOptionalAction, default=True, help="compare with eager")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--step", choices=["build", "reference", "run"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        (blocks,), folder = arguments.blocks, arguments.folder
        steps = {
            "build": lambda: build(blocks, arguments.scheme, arguments.whole, folder),
            "reference": lambda: reference(blocks, arguments.scheme, folder),
            "run": lambda: run(blocks, arguments.runs, folder),
        }
        print(json.dumps(steps[arguments.step]()))
        return
    entries = result_file.read(RESULT).get("rows", [])
    for blocks in arguments.blocks:
        new = {**measure(arguments, blocks), "made": result_file.stamp()}
        same = ("network", "blocks", "scheme", "way")
        entries = [e for e in entries if any(e[k] != new[k] for k in same)] + [new]
        entries.sort(key=lambda e: (e["scheme"], e["way"], e["blocks"]))
        result_file.write(RESULT, __file__, {"rows": entries})
        table(entries)


if __name__ == "__main__":
    main()
