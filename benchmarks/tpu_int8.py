"""What int8 gains on a TPU, by three models: two blocks of TRELLIS's flow at full width, in bfloat16 and int8.

    python benchmarks/tpu_int8.py [--chips v5e v6e]

Each as XLA compiles it, and with this package's Pallas kernels. Nothing is measured: the roofline is this package's;
the cost analysis is libtpu's; the cycles are those of libtpu's schedules, its cost model's for what XLA made, and for
the kernels the bundles that it scheduled (`tpu_bundles`). Prints a table and the goal of 0.65 of bfloat16's time, both
with kernels, and writes benchmarks/results/tpu_int8.json.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import result_file
from dit_blocks import BLOCKS, component
from rich.console import Console
from rich.table import Table
from tpu_bundles import DUMP, kernels

from gen3dexport.backends import find
from gen3dexport.backends.xla.chips import CHIPS
from gen3dexport.bundle.program import Lowered
from gen3dexport.export import Captured

RESULT = Path(__file__).parent / "results" / "tpu_int8.json"
GOAL = 0.65
MODELS = ("roofline", "libtpu cost analysis", "libtpu schedule")


def estimates(scheme: str, chip: str) -> list[dict[str, Any]]:
    """A row for the program as XLA compiles it and one for its twin with kernels: milliseconds by model."""
    xla = find("xla")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LIBTPU_INIT_ARGS"] = DUMP.format(folder=folder)  # inherited by the compiling processes
        options: Any = xla.Options.model_validate({"chip": chip})
        lowered = xla.lower(Captured(xla.quantize(component(), scheme, options)), options, Path(folder))
        own = kernels(Path(folder))
    twin = lowered.extra["blocks_pallas"]
    called = BLOCKS * sum(kernel.cycles(CHIPS[chip]) for kernel in own)
    listed = [{"name": k.name, "bundles": k.bundles, "bytes": k.bytes} for k in own]
    return [
        {"scheme": scheme, "chip": chip, "by": "XLA", **_row(lowered, chip, 0)},
        {"scheme": scheme, "chip": chip, "by": "kernels", **_row(twin, chip, called), "kernels": listed},
    ]


def _row(program: Lowered, chip: str, kernel_cycles: float) -> dict[str, Any]:
    rows = {row.by.removesuffix(f" {chip}"): row.value for row in program.estimates["latency_ms"]}
    cycles = program.facts["compiler_cycles"] + kernel_cycles
    rows["libtpu schedule"] = cycles / CHIPS[chip].clock * 1e3
    return {"weights_bytes": program.facts["weights_bytes"], "milliseconds": rows}


def main() -> None:
    """Estimate, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chips", nargs="+", default=["v5e", "v6e"])
    chips = parser.parse_args().chips
    rows = [row for chip in chips for scheme in ("bf16", "int8-dynamic") for row in estimates(scheme, chip)]
    columns = ("bf16", "bf16, kernels", "int8", "int8, kernels")
    table = Table("chip", "estimated by", *columns, "int8 × bf16, kernels", f"goal {GOAL}", title="milliseconds")
    ratios = {}
    for start, chip in zip(range(0, len(rows), len(columns)), chips, strict=True):
        for model in MODELS:
            values = [row["milliseconds"][model] for row in rows[start : start + len(columns)]]
            ratio = ratios[f"{model} {chip}"] = values[3] / values[1]
            verdict = "holds" if ratio <= GOAL else "missed"
            table.add_row(chip, model, *(f"{value:.3f}" for value in values), f"{ratio:.2f}", verdict)
    Console(width=130).print(table)
    device = f"none (estimates for TPU {' and '.join(chips)})"
    result_file.write(RESULT, __file__, {"rows": rows, "ratios": ratios}, device)


if __name__ == "__main__":
    main()
