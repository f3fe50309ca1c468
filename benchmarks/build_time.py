"""Cold builds of one recipe by two commits' code, in turns: wall and CPU seconds, peak memory, and seconds a stage.

    python benchmarks/build_time.py --base FOLDER [--recipe trellis-mini-color] [--target executorch] [--rounds 1]
        [KEY=VALUE ...]

`FOLDER` is a checkout of the commit to compare with; each commit builds its own recipe of that name, with the same
overrides. Every build is a command of its own, with validation, over caches that hold nothing but Python's compiled
modules. Peak memory is what the command and its children hold together, looked at twice a second (proportional set
size: pages that several share count once). Writes its row into benchmarks/results/build_time.json.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import threading
from pathlib import Path
from statistics import median
from typing import Any

import commands
import psutil
import result_file
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "build_time.json"
_EVERY_S = 0.5


class Peak(threading.Thread):
    """The most bytes that a process and its children held together while this ran."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.bytes, self.ended = pid, 0, threading.Event()

    def run(self) -> None:
        """Look until told to end."""
        while not self.ended.wait(_EVERY_S):
            self.bytes = max(self.bytes, _held(self.pid))


def _held(pid: int) -> int:
    total = 0
    try:
        first = psutil.Process(pid)
        every = [first, *first.children(recursive=True)]
    except psutil.Error:
        return 0
    for process in every:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def cold_build(checkout: Path, recipe: str, target: str, assignments: list[str]) -> dict[str, Any]:
    """One build in a place of its own by a checkout's code: seconds, peak, and CPU seconds a stage by component."""
    with tempfile.TemporaryDirectory(prefix="gen3dexport-build-time-") as scratch:
        place = Path(scratch)
        environment = os.environ | {
            "PYTHONPATH": str(checkout / "src"),
            "HOME": scratch,
            "XDG_CACHE_HOME": str(place / "cache"),
            "TORCHINDUCTOR_CACHE_DIR": str(place / "inductor"),
            "TRITON_CACHE_DIR": str(place / "triton"),
            "COLUMNS": "200",
        }
        bundle = place / "bundle"
        arguments = ["build", str(checkout / "recipes" / f"{recipe}.yaml"), *assignments, "-t", target]
        build = commands.start([*arguments, "-o", str(bundle)], environment)
        peak = Peak(build.process.pid)
        peak.start()
        code = build.finish(7200)
        peak.ended.set()
        if code not in (0, 1) or not bundle.is_dir():
            raise SystemExit(f"{checkout}: the build ended with {code}\n{build.said[-2000:]}")
        files = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
        shutil.rmtree(place / "cache", ignore_errors=True)
    return {
        "seconds": build.seconds,
        "cpu_seconds": build.cpu_seconds,
        "peak_bytes": peak.bytes,
        "bundle_bytes": files,
        "stages": _stages(build),
    }


def _stages(build: commands.Started) -> dict[str, dict[str, float]]:
    """Component -> stage -> seconds, as the command said them."""
    found: dict[str, dict[str, float]] = {}
    for _, _, line in build.lines:
        if match := commands.STAGE.match(line.strip()):
            of = found.setdefault(match[1], {})
            of[match[2]] = of.get(match[2], 0.0) + float(match[3])
    return found


def main() -> None:
    """Build in turns, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--recipe", default="trellis-mini-color")
    parser.add_argument("--target", default="executorch")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("assignments", nargs="*", metavar="KEY=VALUE")
    asked = parser.parse_args()
    checkouts = {"base": asked.base.resolve(), "here": ROOT}
    made: dict[str, list[dict[str, Any]]] = {"base": [], "here": []}
    for number in range(asked.rounds):
        for name in ("base", "here") if number % 2 == 0 else ("here", "base"):
            one = cold_build(checkouts[name], asked.recipe, asked.target, asked.assignments)
            made[name].append(one)
            print(f"{number + 1} {name}: {one['seconds']:.0f} s, {one['peak_bytes'] / 2**30:.2f} GiB", flush=True)
    medians = {
        name: {key: median(run[key] for run in runs) for key in ("seconds", "cpu_seconds", "peak_bytes")}
        for name, runs in made.items()
    }
    row = {
        "recipe": asked.recipe,
        "target": asked.target,
        "assignments": asked.assignments,
        "base_commit": result_file.commit_of(checkouts["base"]),
        "rounds": asked.rounds,
        "load": os.getloadavg()[2],
        **{f"ratio_{key}": medians["here"][key] / medians["base"][key] for key in medians["here"]},
        **made,
        **result_file.stamp(),
    }
    same = ("recipe", "target", "assignments", "base_commit")
    kept = [r for r in result_file.read(RESULT).get("rows", []) if any(r[key] != row[key] for key in same)]
    result_file.write(RESULT, __file__, {"basis": "measured", "rows": [*kept, row]})
    table = Table("component", "stage", "base s", "here s", "ratio")
    for component in row["here"][-1]["stages"]:
        for stage, seconds in row["here"][-1]["stages"][component].items():
            before = row["base"][-1]["stages"].get(component, {}).get(stage)
            ratio = "–" if not before else f"{seconds / before:.2f}"
            table.add_row(component, stage, "–" if before is None else f"{before:.1f}", f"{seconds:.1f}", ratio)
    Console(width=100).print(table)
    print({key: round(value, 3) for key, value in row.items() if key.startswith("ratio")})


if __name__ == "__main__":
    main()
