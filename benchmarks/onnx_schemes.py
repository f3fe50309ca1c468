"""Schemes of the `onnx` backend against each other, one thread, in interleaved rounds.

`python benchmarks/onnx_schemes.py` lowers trellis-mini's flow and one 1024-wide block at 512 tokens (random weights) in
every scheme, prints least CPU time of a call, size and error against float32 eager, and writes
`benchmarks/results/onnx_schemes.json`. CPU time of one thread is what other processes on the machine disturb least.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_compat.numpy as numpy_xp
import result_file
import torch
from rich.console import Console
from rich.table import Table

from gen3dexport.backends import onnx
from gen3dexport.bundle.program import program_record, specs
from gen3dexport.export import Captured
from gen3dexport.models import Request
from gen3dexport.models.component import Component
from gen3dexport.models.trellis.host.configs import NETWORKS
from gen3dexport.models.trellis.networks.loading import random_network
from gen3dexport.observe import observe
from gen3dexport.plan import make_plan, read_recipe, read_target
from gen3dexport.tensor_error import tensor_error

RESULT = Path(__file__).parent / "results" / "onnx_schemes.json"
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "fp32": ("fp32", {}),
    "fp16": ("fp16", {}),
    "int8-weight": ("int8-weight", {}),
    "int8-dynamic, per tensor": ("int8-dynamic", {"activations": "tensor"}),
    "int8-dynamic, per token": ("int8-dynamic", {"activations": "token"}),
}


def mini_flow() -> Component:
    """trellis-mini's flow with the inputs of a real asset's first call."""
    plan = make_plan(read_recipe("trellis-mini"), read_target("eager"))
    files = plan.declared["text_encoder"].host_files(plan.weights)["tokenizer.json"].parent
    request = Request(plan.recipe.golden.prompts[0], 0)
    states = [plan.family.begin(plan.settings, request, files, numpy_xp)]
    for name in ("text_encoder", "flow"):
        declared = plan.declared[name]
        observation = observe(declared.load(plan.weights), declared, states, assets=name != "flow")
        states = list(observation.states)
    found: Component = observation.component
    return found


def wide_block() -> Component:
    """One block of the released large image flow, with patches of 2: 512 tokens; random weights."""
    name, args = NETWORKS["ss_flow_img_dit_L_16l8_fp16"]
    module = random_network(name, {**args, "num_blocks": 1, "patch_size": 2})
    draw = torch.Generator().manual_seed(0)
    x, cond = torch.randn(1, 8, 16, 16, 16, generator=draw), torch.randn(1, 1374, 1024, generator=draw)
    return Component("flow", module, {"x": x, "t": torch.tensor([500.0]), "cond": cond}, ("v",), stack="blocks")


def measure(make: Callable[[], Component], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds, megabytes and relative L2 error by variant; eager float32 among them."""
    eager = make()
    inputs = {k: v.numpy() for k, v in eager.inputs.items()}
    reference = eager.run()["v"].numpy()
    calls: dict[str, Callable[[], Any]] = {"eager fp32": eager.run}
    rows: dict[str, dict[str, float]] = {"eager fp32": {"relative_l2": 0.0}}
    with tempfile.TemporaryDirectory(prefix="gen3dexport-") as scratch:
        for label, (scheme, fields) in VARIANTS.items():
            folder, options = Path(scratch) / label, onnx.Options(threads=1, **fields)
            folder.mkdir()
            component = onnx.quantize(make(), scheme, options)
            lowered = onnx.lower(Captured(component), options, folder)
            taken_in = specs(component.inputs)
            program = onnx.load(folder, program_record("flow", lowered, taken_in, {"v": taken_in["x"]}))
            calls[label] = lambda program=program: program(inputs)
            error = tensor_error(program(inputs)["v"], reference)
            size = sum((folder / f).stat().st_size for f in lowered.files) / 1e6
            rows[label] = {"megabytes": size, "relative_l2": error.relative_l2}
        for _ in range(rounds):
            for label, call in calls.items():
                start = time.process_time()
                call()
                taken = 1e3 * (time.process_time() - start)
                rows[label]["ms"] = min(taken, rows[label].get("ms", taken))
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    result = {"trellis-mini flow": measure(mini_flow, rounds), "wide block": measure(wide_block, max(rounds // 5, 1))}
    for title, rows in result.items():
        table = Table("variant", "ms CPU", "to fp32", "MB", "rel. L2", title=title)
        for label, row in rows.items():
            ratio = f"{row['ms'] / rows['fp32']['ms']:.2f}"
            size = f"{row['megabytes']:.1f}" if "megabytes" in row else "–"
            table.add_row(label, f"{row['ms']:.2f}", ratio, size, f"{row['relative_l2']:.1e}")
        Console().print(table)
    result_file.write(RESULT, __file__, {"rounds": rounds, "threads": 1, "rows": result})


if __name__ == "__main__":
    main()
