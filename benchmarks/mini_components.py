"""trellis-mini's components on every runtime that runs here, in one run with fixed threads.

`python benchmarks/mini_components.py` times eager fp32 and bf16, torch.compile, cpu-aoti, ExecuTorch, ONNX Runtime and
JAX on the CPU in turns (see `turns`), prints a table of ratios to eager fp32 and writes
`benchmarks/results/mini_components.json`. Programs are lowered into a temporary folder and loaded from there.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path
from typing import Any

import result_file
from rich.console import Console
from rich.table import Table
from turns import Call, in_bf16, of_module, of_target, take_turns

RESULT = Path(__file__).parent / "results" / "mini_components.json"
COMPONENTS = ("text_encoder", "flow", "decoder")

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


def component(wanted: str) -> Any:
    """A component of trellis-mini with the inputs of a real asset."""
    import array_api_compat.numpy as numpy_xp

    from gen3dexport.models import Request
    from gen3dexport.observe import observe
    from gen3dexport.plan import make_plan, read_recipe, read_target

    plan = make_plan(read_recipe("trellis-mini"), read_target("eager"))
    files = plan.declared["text_encoder"].host_files(plan.weights)["tokenizer.json"].parent
    request = Request(plan.recipe.golden.prompts[0], 0)
    states = [plan.family.begin(plan.settings, request, files, numpy_xp)]
    for name, declared in plan.declared.items():
        observation = observe(declared.load(plan.weights), declared, states, assets=True)
        states = list(observation.states)
        if name == wanted:
            return observation.component
    raise KeyError(wanted)


def prepare(name: str, variant: str, folder: Path) -> tuple[Call, int]:
    """The call of a variant and its bytes."""
    import torch

    made, lowering = component(name), VARIANTS[variant]
    if lowering is not None:
        return of_target(made, *lowering, folder)
    if variant == "eager bf16":
        return of_module(made, in_bf16(made.module))
    return of_module(made, torch.compile(made.module) if variant.startswith("torch.compile") else made.module)


def main() -> None:
    """Time every component and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # inherited by every variant's process
    rows: list[dict[str, Any]] = []
    for name in COMPONENTS:
        print(name)
        prepared = {v: partial(prepare, name, v) for v in VARIANTS}
        found = take_turns(prepared, arguments.threads, arguments.rounds, calls=30)
        rows += [{"component": name, "variant": v, **t.row(found["eager fp32"])} for v, t in found.items()]
    table = Table("component", "variant", "MB", "p50 ms", "p90", "× eager fp32", "rel. L2")
    for row in rows:
        if row["basis"] == "measured":
            numbers = (f"{row['bytes'] / 1e6:.2f}", f"{row['p50_ms']:.2f}", f"{row['p90_ms']:.2f}")
            table.add_row(
                row["component"], row["variant"], *numbers, f"{row['ratio']:.2f}", f"{row['relative_l2']:.1e}"
            )
        else:
            table.add_row(row["component"], row["variant"], "–", "–", "–", "–", row["reason"])
    Console(width=150).print(table)
    result_file.write(RESULT, __file__, {"threads": arguments.threads, "rounds": arguments.rounds, "rows": rows})


if __name__ == "__main__":
    main()
