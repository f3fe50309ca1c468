"""Networks of depth at their released sizes, random weights: what they take on every target, against eager torch.

    python benchmarks/depth.py [depth-anything-v2-small ...] [--only executorch] [--rounds 3] [--threads 1]
    python benchmarks/depth.py --operators depth-anything-v2-small             # where eager's time goes

Every variant is lowered in a process of its own and loaded from disk in another; then those that run here take turns
(see `turns`). Programs for a TPU or a GPU are built, and their time is what their backend estimates, if it does.
`benchmarks/results/depth.json` has the rows; rows of other runs that it has are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import result_file
from real_weights import Variant, built_once, in_child, loaded
from rich.console import Console
from rich.table import Table
from tradeoff_memory import Memory, Remembered
from turns import Call, take_turns

RESULT = Path(__file__).parent / "results" / "depth.json"
RECIPES = ("depth-anything-v2-small", "moge-2-small", "depth-anything-3-small")
EAGER, STATIC = "eager fp32", "executorch int8, convolutions int8-static"
HEADS = {"depth-anything-v2-small": "head", "depth-anything-3-small": "head.decoder"}
"""Where the recipes' convolutions lie, but for the last one, which stays in float32."""
TIMES = ("calls", "p50_ms", "p90_ms", "p99_ms", "min_ms", "ratio", "ratio_of_minima")
"""What a row says of times."""
CONVOLUTIONS = ("laterals.0", "laterals.1", "fusions", "narrow", "output.0")
VARIANTS: Mapping[str, Variant] = {
    EAGER: Variant("eager"),
    "executorch fp32": Variant("executorch"),
    "executorch int8": Variant("executorch", "int8-dynamic"),
    STATIC: Variant("executorch", "int8-dynamic"),
    "onnx fp32": Variant("onnx"),
    "onnx int8": Variant("onnx", "int8-dynamic"),
    "cpu-aoti fp32": Variant("cpu-aoti"),
    "tpu-v5e int8": Variant("tpu-v5e", "int8-dynamic", runs=False),
    "cuda-sm90 fp16": Variant("cuda-sm90", "fp16", runs=False),
}


def variants(recipe: str) -> dict[str, Variant]:
    """The variants of a recipe's network."""
    found = dict(VARIANTS)
    if recipe in HEADS:
        rules = {f"{HEADS[recipe]}.{name}": "int8-static" for name in CONVOLUTIONS}
        found[STATIC] = replace(found[STATIC], rules=rules)
    else:
        del found[STATIC]
    return found


def component(recipe: str, target_name: str) -> Any:
    """The recipe's one network for a target, with random weights and the inputs of a golden asset."""
    import torch

    from gen3dexport import models
    from gen3dexport.models import Request
    from gen3dexport.plan import make_plan, read_recipe, read_target

    target = read_target(target_name)
    plan = make_plan(read_recipe(recipe, target, ["random_weights=true"]), target)
    (declared,) = plan.declared.values()
    request = Request("seeded", 0, stand_in="random")
    state = models.find(plan.recipe.family).begin(plan.settings, request, Path(), np)
    inputs = {name: torch.from_numpy(np.array(state[name])) for name in declared.inputs}
    return declared.load(plan.weights, "random").with_inputs(inputs)


def build(recipe: str, variant: Variant, folder: Path) -> dict[str, Any]:
    """Lower a variant into an empty folder; what it took."""
    import torch

    from gen3dexport.plan import read_target
    from gen3dexport.quantization.calibration import observing
    from gen3dexport.validation.one_component import lowered

    torch.set_num_threads(1)
    made = component(recipe, variant.target)
    if variant.calibrated:
        with observing(made) as observed:
            made.run()
        made = replace(made, ranges=observed.ranges())
    start = time.perf_counter()
    record = lowered(made, read_target(variant.target), variant.scheme, folder, variant.rules)
    seconds = time.perf_counter() - start
    (folder / "record.json").write_text(record.model_dump_json())
    np.savez(folder / "inputs.npz", **{name: value.numpy() for name, value in made.inputs.items()})
    return {
        "bytes": sum((folder / file).stat().st_size for file in record.files),
        "build_seconds": seconds,
        "build_peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "estimates": json.loads(record.model_dump_json())["estimates"],
    }


def prepare(variant: Variant, folder: Path, _scratch: Path) -> tuple[Call, int]:
    """A call of a variant's program, with its memory."""
    import torch  # noqa: F401  what any runtime here needs is imported before memory counts

    memory = Memory("cpu")
    program = loaded(variant, folder)
    with np.load(folder / "inputs.npz") as kept:
        given = {name: program.xp.asarray(kept[name]) for name in kept.files}
    return Remembered(lambda: {k: np.asarray(v) for k, v in program(given).items()}, memory), 0


def measure(
    recipe: str, chosen: Mapping[str, Variant], given: argparse.Namespace, scratch: Path
) -> list[dict[str, Any]]:
    """A row for every variant."""
    rows: dict[str, dict[str, Any]] = {}
    prepared: dict[str, Any] = {}
    for name, variant in chosen.items():
        folder = scratch / recipe / name.replace(" ", "_")
        try:
            rows[name] = {"basis": "measured", **built_once(build, recipe, variant, folder)}
        except Exception as error:  # a variant that cannot be built is a row of the table, with the reason
            rows[name] = {"basis": "unmeasured", "reason": f"{type(error).__name__}: {error}"[:300]}
            continue
        finally:
            print(recipe, name, rows[name], flush=True)
        if variant.runs:
            prepared[name] = partial(prepare, variant, folder)
    timed = take_turns(prepared, given.threads, given.rounds or 1, given.calls)
    for name, turns in timed.items():
        row = {**turns.row(timed[EAGER]), "bytes": rows[name]["bytes"]}
        rows[name] |= row if given.rounds else {k: v for k, v in row.items() if k not in TIMES}
        rows[name]["peak_memory"] = turns.facts["peak_memory"].get("bytes") if turns.facts else None
    stamp = result_file.stamp()
    return [{"recipe": recipe, "variant": name, **row, "made": stamp} for name, row in rows.items()]


def operators(recipe: str, threads: int) -> str:
    """Where eager's time goes, by operator and shape."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    torch.set_num_threads(threads)
    made = component(recipe, "eager")
    made.run()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as recorded:
        made.run()
    return str(recorded.key_averages(group_by_input_shape=True).table(sort_by="self_cpu_time_total", row_limit=25))


def show(rows: list[dict[str, Any]]) -> None:
    """The rows as a table."""
    table = Table("recipe", "variant", "MB", "build s", "p50 ms", "× eager", "× min", "rel. L2", "peak MB")
    for row in rows:
        cells = [f"{row[key] / 1e6:.1f}" if key in row else "" for key in ("bytes",)]
        cells += [f"{row[key]:.2f}" if key in row else "" for key in ("build_seconds", "p50_ms", "ratio")]
        cells += [f"{row['ratio_of_minima']:.2f}" if "ratio_of_minima" in row else ""]
        cells += [f"{row['relative_l2']:.1e}" if "relative_l2" in row else row.get("reason", "")[:60]]
        cells += [f"{row['peak_memory'] / 1e6:.0f}" if row.get("peak_memory") else ""]
        table.add_row(row["recipe"], row["variant"], *cells)
    Console(width=150).print(table)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=list(RECIPES))
    parser.add_argument("--only", action="append", help="variants whose names hold this; others keep their rows")
    parser.add_argument("--rounds", type=int, default=3, help="0: outputs and memory alone, no times")
    parser.add_argument("--calls", type=int, default=3, help="of a variant in its turn, the first of them to warm up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--programs", type=Path, help="where programs are kept, and taken from if they are there")
    parser.add_argument("--operators", action="store_true")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(given.threads)  # inherited by every process
    if given.operators:
        for recipe in given.recipes:
            print(in_child(operators, recipe, given.threads))
        return
    only = [EAGER, *(given.only or [""])]
    before = result_file.read(RESULT).get("rows", [])
    for recipe in given.recipes:
        chosen = {n: variant for n, variant in variants(recipe).items() if any(word in n for word in only)}
        with tempfile.TemporaryDirectory(prefix="gen3dexport-") as scratch:
            rows = measure(recipe, chosen, given, given.programs or Path(scratch))
        show(rows)
        if not given.rounds and any((row["recipe"], row["variant"]) == (recipe, EAGER) for row in before):
            rows = rows[1:]  # eager's row has times, and this run has none
        fresh = {(row["recipe"], row["variant"]): row for row in rows}
        before = [fresh.pop((row["recipe"], row["variant"]), row) for row in before] + [*fresh.values()]
        result_file.write(RESULT, __file__, {"threads": given.threads, "rounds": given.rounds, "rows": before})


if __name__ == "__main__":
    main()
