"""Same inputs, same bytes: `build --check-reproducible` for every target that ships.

    python benchmarks/trust/reproducible.py [--tiny cuda-sm80 ...] [--mini eager onnx ...]

Every target makes the tiny pipeline of this folder; those of `--mini` make trellis-mini, too, with one golden prompt
and two steps: neither changes how a program is made. Writes benchmarks/results/trust_reproducible.json after each row.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import result_file
import tiny_pipeline

from gen3dexport.documents.shipped import documents

RESULT = Path(__file__).parents[1] / "results" / "trust_reproducible.json"
_MINI = ["trellis-mini", "knobs.sampler.steps=2", "golden.prompts=[a tall chair]"]
MINI_TARGETS = ("onnx", "eager", "executorch-xnnpack", "tpu-v5e")
"""One of each backend that makes trellis-mini twice in minutes."""


def check(target: str, recipe: list[str]) -> dict[str, Any]:
    """One target's row."""
    environment = {**os.environ, "PYTHONPATH": str(tiny_pipeline.ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "gen3dexport", "build", *recipe, "-t", target, "--check-reproducible", "--json"]
    start = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    try:
        found = json.loads(done.stdout)
    except ValueError:
        found = {"message": done.stderr[-500:]}
    row = {
        "target": target,
        "recipe": Path(recipe[0]).stem,
        "exit": done.returncode,
        "seconds": time.monotonic() - start,
    }
    if "differences" not in found:
        return {**row, "error": found.get("message", "")}
    kinds = ("files", "bytes", "reproducible", "differences")
    return {**row, **{key: found[key] for key in kinds}}


def main() -> int:
    """Check, print and write; 1 when a byte differed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", nargs="*", default=[*documents("targets")])
    parser.add_argument("--mini", nargs="*", default=MINI_TARGETS)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="trust-reproducible-") as scratch:
        tiny = [str(tiny_pipeline.write(Path(scratch) / "pipeline"))]
        asked = [(target, tiny) for target in options.tiny] + [(target, _MINI) for target in options.mini]
        for target, recipe in asked:
            rows.append(check(target, recipe))
            print(json.dumps(rows[-1], indent=1), flush=True)
            result_file.write(options.out, __file__, {"basis": "measured", "rows": rows})
    return 0 if all(row["exit"] == 0 for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
