"""Held-out IoU of trellis-mini, in eager and through bundles: `python benchmarks/heldout.py BUNDLE... [--count N]`.

Every caption is a combination of attributes that training never saw (weights/trellis-mini/heldout.json); the true
occupancy lies beside it. Noise seeds are the item's number, the same for every bundle. Prints a table and writes
`benchmarks/results/heldout.json`.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import array_api_compat.numpy as numpy_xp
import numpy as np
import result_file
from rich.console import Console
from rich.table import Table

from gen3dexport.assets.metrics import occupancy_iou
from gen3dexport.documents.shipped import shipped
from gen3dexport.models import Request
from gen3dexport.models.trellis.host.structure_stage import occupancy_logits
from gen3dexport.observe import Eager
from gen3dexport.plan import make_plan, read_recipe, read_target
from gen3dexport.runtime import load

RESULT = Path(__file__).parent / "results" / "heldout.json"


def truth(count: int) -> tuple[list[str], np.ndarray]:
    """Captions and true occupancy [N, R, R, R] of the first `count` held-out items, spread over all categories."""
    folder = shipped("weights") / "trellis-mini"
    stored = json.loads((folder / "heldout.json").read_text())
    packed = np.load(folder / "heldout.npz")["occupancy"]
    size = stored["resolution"]
    occupancy = np.unpackbits(packed, axis=-1)[:, : size**3].reshape(-1, size, size, size).astype(bool)
    return [item["caption"] for item in stored["items"]][:count], occupancy[:count]


def eager_logits(captions: list[str]) -> list[np.ndarray]:
    """Occupancy logits by the float32 eager pipeline."""
    plan = make_plan(read_recipe("trellis-mini"), read_target("eager"))
    files = plan.declared["text_encoder"].host_files(plan.weights)["tokenizer.json"].parent
    states = [plan.family.begin(plan.settings, Request(c, k), files, numpy_xp) for k, c in enumerate(captions)]
    for declared in plan.declared.values():
        program = Eager(declared.load(plan.weights))
        states = [declared.advance(state, program, numpy_xp) for state in states]
    return [occupancy_logits(state) for state in states]


def bundle_logits(bundle: Path, captions: list[str]) -> list[np.ndarray]:
    """Occupancy logits by a bundle's programs."""
    loaded = load(bundle)
    return [occupancy_logits(loaded.run(Request(c, k))) for k, c in enumerate(captions)]


def score(name: str, logits: list[np.ndarray], occupancy: np.ndarray, seconds: float) -> dict[str, Any]:
    """Mean IoU against the truth, measured here."""
    scores = [occupancy_iou(a > 0, b) for a, b in zip(logits, occupancy, strict=True)]
    return {"name": name, "iou": float(np.mean(scores)), "worst": float(np.min(scores)), "seconds": seconds}


def main() -> None:
    """Score eager and every bundle that was named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="*", type=Path)
    parser.add_argument("--count", type=int, default=200)
    arguments = parser.parse_args()
    captions, occupancy = truth(arguments.count)
    rows = []
    for name in ("eager fp32", *arguments.bundles):
        start = time.perf_counter()
        logits = eager_logits(captions) if isinstance(name, str) else bundle_logits(name, captions)
        rows.append(score(str(getattr(name, "name", name)), logits, occupancy, time.perf_counter() - start))
    table = Table("model", "mean IoU", "loss against eager", "worst", "seconds")
    for row in rows:
        loss = rows[0]["iou"] - row["iou"]
        table.add_row(row["name"], f"{row['iou']:.4f}", f"{loss:+.4f}", f"{row['worst']:.3f}", f"{row['seconds']:.0f}")
    Console().print(table)
    result_file.write(RESULT, __file__, {"basis": "measured", "captions": len(captions), "rows": rows})


if __name__ == "__main__":
    main()
