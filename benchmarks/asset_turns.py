"""Whole assets of two commits' bundles on held-out captions, in turns: time, peak memory, and quality against truth.

    python benchmarks/asset_turns.py --base FOLDER BUNDLE --here BUNDLE [--captions 64] [--change TEXT]

`FOLDER` is a checkout of the commit to compare with, whose `src` its bundle runs on. Either bundle has a process of its
own, started once, with one thread; they make the assets of a caption one after the other, first the one, then the
other, and the seconds are those of `generate_assets` after a first asset that does not count. Quality is against the
true shapes (`training/trellis_mini`): IoU of the voxels; F-score of the mesh at half a voxel and PSNR of unlit pictures
where the bundle makes coloured meshes and Gaussians. Two bundles of one commit take `--base . BUNDLE` and `--change`,
which names what the second has more. Writes its row into benchmarks/results/asset_turns.json after each eighth caption.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import result_file

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from gen3dexport.assets.gaussians import Gaussians  # noqa: E402
from gen3dexport.assets.mesh import Mesh  # noqa: E402
from gen3dexport.assets.metrics import occupancy_iou  # noqa: E402
from gen3dexport.bundle.manifest import Manifest, read_manifest  # noqa: E402
from training.trellis_mini.color_dataset import held_out_items  # noqa: E402
from training.trellis_mini.evaluate_color import mean_scores, scores_of  # noqa: E402
from training.trellis_mini.sampler import load_held_out  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "asset_turns.json"
KEPT = ("iou", "f_0.5", "psnr_mesh", "psnr_gaussians", "main", "material", "accent")
_WORKER = """
import json, pickle, resource, sys, time
import numpy as np
from gen3dexport.runtime import load
loaded = load(sys.argv[1])
loaded.load_programs()
answers = sys.stdout.buffer
sys.stdout = sys.stderr
for line in sys.stdin:
    prompt, seed = json.loads(line)
    start, busy = time.perf_counter(), time.process_time()
    made = loaded.generate_assets(prompt, seed)
    seconds, cpu = time.perf_counter() - start, time.process_time() - busy
    fields = {kind: {k: v for k, v in vars(asset).items() if isinstance(v, np.ndarray)} for kind, asset in made.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    pickle.dump({"seconds": seconds, "cpu": cpu, "peak": peak, "assets": fields}, answers)
    answers.flush()
"""


@dataclass
class Worker:
    """A process that makes assets of a bundle with a checkout's code."""

    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, source: Path, bundle: Path) -> Worker:
        """Start it; it loads the bundle when it is first asked."""
        environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", _WORKER, str(bundle)]
        return cls(subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE))

    def make(self, prompt: str, seed: int) -> dict[str, Any]:
        """One asset: seconds, CPU seconds, peak bytes so far, and the arrays of each kind."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([prompt, seed]).encode() + b"\n")
        self.process.stdin.flush()
        made: dict[str, Any] = pickle.load(self.process.stdout)
        return made

    def end(self) -> None:
        """End it."""
        self.process.communicate()


def _scores(assets: Mapping[str, Mapping[str, np.ndarray]], item: Any, truth: np.ndarray) -> dict[str, Any]:
    """Scores of what was made against the true shape."""
    occupied = assets["voxels"]["occupancy"]
    if "gaussians" not in assets:
        return {"iou": occupancy_iou(occupied, truth)}
    return scores_of(Mesh(**assets["mesh"]), Gaussians(**assets["gaussians"]), item, occupied, truth)


def _summary(made: list[dict[str, Any]]) -> dict[str, Any]:
    seconds = [row["seconds"] for row in made]
    return {
        "p50_seconds": float(np.percentile(seconds, 50)),
        "p90_seconds": float(np.percentile(seconds, 90)),
        "cpu_seconds": float(np.mean([row["cpu"] for row in made])),
        "peak_bytes": int(made[-1]["peak"]),
        "scores": {k: v for k, v in mean_scores([row["scores"] for row in made]).items() if k in KEPT},
    }


def main() -> None:
    """Make the assets in turns, and write what they took and how good they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", nargs=2, type=Path, required=True, metavar=("FOLDER", "BUNDLE"))
    parser.add_argument("--here", type=Path, required=True, metavar="BUNDLE")
    parser.add_argument("--captions", type=int, default=64)
    parser.add_argument("--change", default="", help="what the bundle has that the base's lacks; a row of its own")
    asked = parser.parse_args()
    manifest = read_manifest(asked.here)
    held, items = load_held_out(), held_out_items()[: asked.captions]
    colored = "slat_flow" in manifest.components
    workers = {
        "base": Worker.start(asked.base[0] / "src", asked.base[1]),
        "here": Worker.start(ROOT / "src", asked.here),
    }
    made: dict[str, list[dict[str, Any]]] = {"base": [], "here": []}
    for worker in workers.values():
        worker.make("a tall lamp", 0)
    for number, (item, truth) in enumerate(zip(items, held.occupancy, strict=False)):
        caption = item.caption if colored else held.captions[number]
        for name in ("base", "here") if number % 2 else ("here", "base"):
            row = workers[name].make(caption, item.seed if colored else held.seeds[number])
            row["scores"] = _scores(row.pop("assets"), item, truth)
            made[name].append(row)
        ratio = made["here"][-1]["seconds"] / made["base"][-1]["seconds"]
        print(f"{number + 1}/{len(items)} {ratio:.2f} {caption}", flush=True)
        if number % 8 == 7 or number + 1 == len(items):
            row = _row(manifest, asked.base[0], made, asked.change)
            kept = [r for r in result_file.read(RESULT).get("rows", []) if _of(r) != _of(row)]
            result_file.write(RESULT, __file__, {"basis": "measured", "rows": [*kept, row]})
    for worker in workers.values():
        worker.end()
    print(json.dumps(row, indent=1))


def _of(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["recipe"], row["target"], row.get("change", "")


def _row(manifest: Manifest, base: Path, made: Mapping[str, list[dict[str, Any]]], change: str) -> dict[str, Any]:
    """What a result says of the assets so far."""
    ratios = [here["seconds"] / base["seconds"] for here, base in zip(made["here"], made["base"], strict=True)]
    commit = ["git", "-C", str(base), "rev-parse", "--short", "HEAD"]
    return {
        "recipe": manifest.recipe["name"],
        "target": manifest.target["name"],
        **({"change": change} if change else {}),
        "captions": len(ratios),
        "base_commit": subprocess.run(commit, capture_output=True, text=True, check=True).stdout.strip(),
        "calls": manifest.calls,
        "ratio_p50": float(np.percentile(ratios, 50)),
        "ratio_p90": float(np.percentile(ratios, 90)),
        **{name: _summary(rows) for name, rows in made.items()},
        **result_file.stamp(),
    }


if __name__ == "__main__":
    main()
