"""One guided step of trellis-mini's flow: two calls, one of a batch of two, and with held keys and values of the context.

    python benchmarks/guidance.py executorch:int8-dynamic executorch:fp32 cpu-aoti:fp32

Programs take turns; the table has the 25th percentile and the least of a call's milliseconds: run it on a quiet
machine.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gen3dexport.models.trellis import loading
from gen3dexport.models.trellis.settings import read_settings
from gen3dexport.one_component import through
from gen3dexport.recipe import Sampler
from gen3dexport.shipped import shipped
from gen3dexport.target import read_target

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "batched": {"guidance": "batched"},
    "held": {"cache_context": True},
    "both": {"cache_context": True, "guidance": "batched"},
}
TURNS, CALLS = 40, 3


def measure(target: str, scheme: str) -> dict[str, Any]:
    """Milliseconds of a call and bytes of every variant's program; `context` is what `held` needs once for all steps."""
    folder, programs, sizes = shipped("weights") / "trellis-mini", {}, {}
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as scratch:
        for name, knobs in VARIANTS.items():
            settings = read_settings(folder, Sampler(**knobs))
            batch = settings.batch
            cond = torch.randn(batch, *settings.condition)
            inputs = {"x": torch.randn(batch, *settings.latent), "t": torch.full((batch,), 700.0), "cond": cond}
            parts = {name: loading.load("flow", settings, folder)}
            if settings.cache_context:
                context = loading.load("flow_context", settings, folder).with_inputs({"cond": cond})
                inputs = {"x": inputs["x"], "t": inputs["t"], **context.run()}
                if name == "held":
                    parts["context"] = context
            parts[name] = parts[name].with_inputs(inputs)
            for part, component in parts.items():
                (Path(scratch) / part).mkdir()
                given = {key: value.numpy() for key, value in component.inputs.items()}
                _, program = through(component, read_target(target), scheme, Path(scratch) / part)
                programs[part] = program, {key: program.xp.asarray(value) for key, value in given.items()}
                sizes[part] = sum(path.stat().st_size for path in (Path(scratch) / part).iterdir())
        times: dict[str, list[float]] = {part: [] for part in programs}
        for _ in range(TURNS):
            for part, (program, given) in programs.items():
                for _ in range(CALLS):
                    start = time.perf_counter()
                    for value in program(given).values():
                        np.asarray(value)
                    times[part].append(1e3 * (time.perf_counter() - start))
    return {
        "target": target,
        "scheme": scheme,
        "p25_ms": {part: round(float(np.percentile(found, 25)), 3) for part, found in times.items()},
        "min_ms": {part: round(min(found), 3) for part, found in times.items()},
        "bytes": sizes,
    }


def main(cases: list[str]) -> None:
    """Measure each TARGET:SCHEME, print a table and write `results/guidance.json`."""
    rows = [measure(*case.split(":")) for case in cases]
    for row in rows:
        print(row["target"], row["scheme"])
        for part, value in row["p25_ms"].items():
            print(f"  {part:8} {value:8.2f} ms (least {row['min_ms'][part]:.2f}), {row['bytes'][part] / 1e6:.1f} MB")
        once = 2 * row["p25_ms"]["plain"]
        print(f"  a guided step in one call: {row['p25_ms']['batched'] / once:.2f} of two calls")
    (Path(__file__).parent / "results" / "guidance.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:] or ["executorch:int8-dynamic", "executorch:fp32"])
