"""Same inputs, same bytes: `build --check-reproducible` for every target that ships.

    python benchmarks/trust/reproducible.py [--targets eager onnx ...] [--tiny cuda-sm80 ...]

trellis-mini, with one golden prompt and two steps: neither changes how a program is made. The targets of `--tiny` take
the tiny pipeline of this folder, because a build of trellis-mini's takes minutes. Writes
benchmarks/results/trust_reproducible.json, one row a target.
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
MINI = ["trellis-mini", "knobs.sampler.steps=2", "golden.prompts=[a tall chair]"]
TINY = ("cpu-aoti-avx512", "cuda-sm80", "cuda-sm86", "cuda-sm89", "cuda-sm100", "tpu-v6e")
"""Targets whose backend another target tries with trellis-mini."""


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
    parser.add_argument("--targets", nargs="*", default=[*documents("targets")])
    parser.add_argument("--tiny", nargs="*", default=TINY)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="trust-reproducible-") as scratch:
        tiny = [str(tiny_pipeline.write(Path(scratch) / "pipeline"))]
        for target in options.targets:
            rows.append(check(target, tiny if target in options.tiny else MINI))
            print(json.dumps(rows[-1], indent=1), flush=True)
    result_file.write(options.out, __file__, {"basis": "measured", "rows": rows})
    return 0 if all(row["exit"] == 0 for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
