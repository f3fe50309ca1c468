"""The trade-off of quantization: what a user of torch would try first, against this package's bundles.

    python benchmarks/tradeoff.py [--seeds 5] [--quick] [--device cpu|cuda] [--only NAME...]

Part 1 makes the same assets (held-out captions whose true shapes are known; seed k for caption k) with trellis-mini in
eager float32 and bfloat16, with torchao's int8 and int4, each also under torch.compile, and through bundles. Part 2
does the same to two blocks of TRELLIS's flow at full width. Every variant lives in a process of its own and they take
turns (`turns`). Prints both tables, writes `benchmarks/results/tradeoff.json` and draws `docs/tradeoff.png`
(`tradeoff_cuda.*` with `--device cuda`); `--quick` and `--only` write nothing but into `--out`.

Memory is of one process above what it held before loading (`tradeoff_memory`): `peak` counts loading, compiling and
the first call, `running` what comes after. GPU variants run only with `--device cuda`; elsewhere they are unmeasured.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import result_file
import tradeoff_blocks
import tradeoff_pipeline
import tradeoff_plot
from rich.console import Console
from rich.table import Table
from tradeoff_variants import BLOCKS, PIPELINES, Variant
from turns import Prepare, Turns, take_turns

HERE = Path(__file__).parent
QUICK = ("eager fp32", "eager + torchao int8-weight", "executorch bundle", "executorch int8")


def measured_here(variants: Sequence[Variant], device: str, only: Sequence[str]) -> list[Variant]:
    """Those of the device, the first of which is the reference; those of `only` besides it when given."""
    mine = [v for v in variants if v.device == device]
    chosen = [v for v in mine if v is mine[0] or not only or v.name in only]
    return [replace(v, target=_target_of_gpu()) if v.target == "cuda" else v for v in chosen]


def _target_of_gpu() -> str:
    import torch

    major, minor = torch.cuda.get_device_capability(0)
    return f"cuda-sm{major}{minor}"


def _gpu() -> str:
    import torch

    return str(torch.cuda.get_device_name(0))


def in_child(function: Callable[..., None], *arguments: Any) -> None:
    """Build in a process of its own, so that no vendor's import reaches the next; a refusal becomes the row's reason
    when the variant finds nothing to load."""
    worker = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    worker.start()
    worker.join()


def others(variants: Sequence[Variant], device: str) -> list[dict[str, Any]]:
    """Rows of variants of another device."""
    reasons = {"cuda": "no GPU", "cpu": "measured by --device cpu"}
    return [
        {"variant": v.name, "kind_of": v.kind, "device": v.device, "basis": "unmeasured", "reason": reasons[v.device]}
        for v in variants
        if v.device != device
    ]


def pipelines(given: argparse.Namespace, scratch: Path) -> list[dict[str, Any]]:
    """Part 1."""
    chosen = measured_here(PIPELINES, given.device, given.only)
    for variant in chosen:
        if variant.target:
            in_child(tradeoff_pipeline.build_bundle, variant, scratch)
    prepared: dict[str, Prepare] = {v.name: partial(tradeoff_pipeline.prepare, v, scratch, given.seeds) for v in chosen}
    found = take_turns(prepared, given.threads, given.rounds, given.seeds + 1)  # every seed once a round
    reference = _reference(found, chosen)
    return [tradeoff_pipeline.row(v, found[v.name], reference, given.seeds) for v in chosen] + (
        others(PIPELINES, given.device)
    )


def blocks(given: argparse.Namespace, scratch: Path) -> list[dict[str, Any]]:
    """Part 2."""
    chosen = measured_here(BLOCKS, given.device, given.only)
    for variant in chosen:
        if variant.target:
            in_child(tradeoff_blocks.lower, variant, scratch)
    prepared: dict[str, Prepare] = {v.name: partial(tradeoff_blocks.prepare, v, scratch) for v in chosen}
    found = take_turns(prepared, given.threads, given.rounds, 4)
    reference = _reference(found, chosen)
    return [tradeoff_blocks.row(v, found[v.name], reference) for v in chosen] + others(BLOCKS, given.device)


def _reference(found: dict[str, Turns], chosen: Sequence[Variant]) -> Turns:
    reference = found[chosen[0].name]
    if reference.reason is not None:
        raise SystemExit(f"{chosen[0].name}, which the others are compared with, did not run: {reference.reason}")
    return reference


def show(
    console: Console, title: str, rows: Sequence[dict[str, Any]], columns: dict[str, Callable[[Any], str]]
) -> None:
    """One table; below it, what is unmeasured and why."""
    table, missing = Table("variant", *columns, title=title), {}
    for row in rows:
        if row["basis"] == "measured":
            table.add_row(row["variant"], *(cell(row) for cell in columns.values()))
        else:
            missing.setdefault(row["reason"], []).append(row["variant"])
    console.print(table)
    for reason, names in missing.items():
        console.print(f"unmeasured ({reason}): {', '.join(names)}")


def _memory(key: str) -> Callable[[Any], str]:
    return lambda r: f"{r[key]['bytes'] / 1e6:.0f}" if r[key]["basis"] == "measured" else "unmeasured"


COMMON: dict[str, Callable[[Any], str]] = {
    "MB": lambda r: f"{r['bytes'] / 1e6:.1f}",
    "peak MB": _memory("peak_memory"),
    "running MB": _memory("running_memory"),
    "p50 ms": lambda r: f"{r['p50_ms']:.1f}",
    "p90": lambda r: f"{r['p90_ms']:.1f}",
    "× eager fp32": lambda r: f"{r['ratio']:.2f}",
}
OF_PIPELINES = COMMON | {
    "ms a step": lambda r: f"{r['step_ms']:.2f}",
    "loss (1 - IoU)": lambda r: f"{r['loss']:.4f}",
    "Chamfer": lambda r: f"{r['chamfer']:.5f}",
    "IoU to truth": lambda r: f"{r['iou_truth']:.4f}",
}
OF_BLOCKS = COMMON | {"rel. L2": lambda r: f"{r['relative_l2']:.1e}"}


def main() -> None:
    """Measure both parts, print, write and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="captions, the k-th with seed k")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--quick", action="store_true", help="a few variants, one round")
    parser.add_argument("--only", nargs="*", default=[], help="variants besides the reference")
    parser.add_argument("--part", type=int, choices=(1, 2), help="one part alone")
    parser.add_argument("--out", type=Path, help="folder for tradeoff.json and tradeoff.png")
    parser.add_argument("--redraw", action="store_true", help="draw the picture from the JSON that is there")
    given = parser.parse_args()
    name = "tradeoff" if given.device == "cpu" else "tradeoff_cuda"
    partly = given.quick or given.only or given.part
    json_path = (given.out or HERE / "results") / f"{name}.json"
    picture = (given.out or HERE.parent / "docs") / f"{name}.png"
    if given.redraw:
        tradeoff_plot.draw(json.loads(json_path.read_text()), picture)
        return
    if given.quick:
        given.only, given.rounds = list(QUICK), 1
    os.environ["OMP_NUM_THREADS"] = str(given.threads)  # inherited by every variant's process
    start, result = time.perf_counter(), {}
    with tempfile.TemporaryDirectory(prefix="gen3dexport-") as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(folder) / "inductor")  # every run compiles for itself
        for number, key, part in ((1, "pipeline", pipelines), (2, "blocks", blocks)):
            if given.part in (None, number):
                (scratch := Path(folder) / key).mkdir()
                result[key] = part(given, scratch)
    console = Console(width=170)
    if "pipeline" in result:
        show(console, f"trellis-mini, {given.seeds} captions", result["pipeline"], OF_PIPELINES)
    if "blocks" in result:
        show(console, "two blocks, 1024 wide", result["blocks"], OF_BLOCKS)
    seconds = time.perf_counter() - start
    console.print(f"took {seconds:.0f} s")
    if partly and given.out is None:
        return
    settings = {key: getattr(given, key) for key in ("seeds", "threads", "rounds", "device")}
    device = _gpu() if given.device == "cuda" else None
    result_file.write(json_path, __file__, {**settings, "took_s": seconds, **result}, device)
    tradeoff_plot.draw(result, picture)
    console.print(f"written: {json_path}, {picture}")


if __name__ == "__main__":
    main()
