"""What int8 gains on a TPU, by three models: two blocks of TRELLIS's flow at full width, in bfloat16 and int8.

    python benchmarks/tpu_int8.py [--chips v5e v6e]

Nothing is measured: the roofline is this package's, the other two are libtpu's (its cost analysis, and the cycles of
its instruction scheduler, which leave out the flash kernel's own). Prints a table and the goal of 0.65 of bfloat16's
time, and writes benchmarks/results/tpu_int8.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from dit_blocks import component
from rich.console import Console
from rich.table import Table

from gen3dexport.backends import find
from gen3dexport.export import Captured
from gen3dexport.provenance import versions

RESULT = Path(__file__).parent / "results" / "tpu_int8.json"
GOAL = 0.65


def estimate(scheme: str, chip: str) -> dict[str, Any]:
    """Estimates of one call with flash attention, by model."""
    xla = find("xla")
    options: Any = xla.Options.model_validate({"chip": chip})
    with tempfile.TemporaryDirectory() as folder:
        lowered = xla.lower(Captured(xla.quantize(component(), scheme, options)), options, Path(folder))
    program = lowered.extra["blocks_pallas"]
    found = {row.by: row.value for row in program.estimates["latency_ms"]}
    found[f"libtpu scheduler's cycles {chip}"] = program.facts["compiler_cycles"]
    return {"scheme": scheme, "chip": chip, "weights_bytes": program.facts["weights_bytes"], "estimates": found}


def main() -> None:
    """Estimate, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chips", nargs="+", default=["v5e", "v6e"])
    chips = parser.parse_args().chips
    rows = [estimate(scheme, chip) for chip in chips for scheme in ("bf16", "int8-dynamic")]
    table = Table("estimated by", "bf16", "int8-dynamic", "×", f"goal {GOAL}")
    ratios = {}
    for bf16, int8 in zip(rows[::2], rows[1::2], strict=True):
        for model, value in bf16["estimates"].items():
            ratios[model] = int8["estimates"][model] / value
            shown = [f"{v:,.3f} ms" if v < 1e3 else f"{v:,.0f}" for v in (value, int8["estimates"][model])]
            table.add_row(model, *shown, f"{ratios[model]:.2f}", "holds" if ratios[model] <= GOAL else "missed")
    Console(width=110).print(table)
    RESULT.write_text(json.dumps({"versions": versions(), "rows": rows, "ratios": ratios}, indent=1) + "\n")


if __name__ == "__main__":
    main()
