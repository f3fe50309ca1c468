"""The C++ library `gen3d` against `gen3dexport run`, on bundles of trellis-mini for ExecuTorch.

    gen3dexport build trellis-mini -t executorch -o INT8
    gen3dexport build trellis-mini components.flow.scheme=fp32 components.text_encoder.rules={} -t executorch -o FP32
    python benchmarks/embed_cpp.py PREFIX --int8 INT8 --fp32 FP32 [--rounds 5] [--assets 12]

PREFIX is where `cmake --install` put the library. Both sides make the same prompt's asset in turns, a process each:
from its start to the written file (cold), then many assets in one process (warm). Peak memory is what the kernel says
of the finished process. A kit of each bundle tells how far every value of the library is from Python's. Writes
benchmarks/results/embed_cpp.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import result_file

RESULT = Path(__file__).parent / "results" / "embed_cpp.json"
PROMPT = "a narrow chair with a low seat, a tall backrest, four thin legs and no armrests, facing right"
THREADS = "2"
MAIN = "import sys; sys.argv = ['gen3dexport', *sys.argv[1:]]; from gen3dexport.cli import main; main()"
WARM = """
import json, sys, time
from gen3dexport.runtime import load
bundle, prompt, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
loaded = load(bundle)
loaded.load_programs()
times = []
for _ in range(count):
    start = time.perf_counter()
    loaded.generate_assets(prompt, 3)
    times.append(time.perf_counter() - start)
print(json.dumps(times))
"""


def finished(command: list[str]) -> tuple[float, int, str]:
    """Seconds of a process, the most memory that it held in bytes, and what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": THREADS}
    with tempfile.TemporaryFile("w+") as out:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{command[0]} ended with {process.returncode}")
        out.seek(0)
        return seconds, usage.ru_maxrss * 1024, out.read()


def compared(tool: Path, bundle: Path, scratch: Path, rounds: int, assets: int) -> dict[str, Any]:
    """Cold and warm times and memory of both sides, and how far the library's values are from Python's."""
    request = [str(bundle), "-p", PROMPT, "--seed", "3"]
    commands = {
        "cpp": [str(tool), "run", *request, "-o", str(scratch / "cpp.glb"), "--threads", THREADS],
        "python": [sys.executable, "-c", MAIN, "run", *request, "-o", str(scratch / "python.glb"), "--no-cache"],
    }
    warm = {
        "cpp": [*commands["cpp"], "--runs", str(assets), "--json"],
        "python": [sys.executable, "-c", WARM, str(bundle), PROMPT, str(assets)],
    }
    cold: dict[str, list[float]] = {side: [] for side in commands}
    each: dict[str, list[float]] = {side: [] for side in commands}
    peak: dict[str, int] = {}
    for number in range(rounds + 1):
        for side, command in commands.items():
            seconds, peak[side], _ = finished(command)
            cold[side] += [seconds] if number else []  # the first round reads the files from disk
        for side, command in warm.items() if number else ():
            said = json.loads(finished(command)[2])
            each[side] += (said["run_seconds"] if side == "cpp" else said)[2:]
    rows = {
        side: {
            "cold_s": statistics.median(cold[side]),
            "cold_min_s": min(cold[side]),
            "warm_ms": 1e3 * statistics.median(each[side]),
            "warm_min_ms": 1e3 * min(each[side]),
            "peak_bytes": peak[side],
        }
        for side in commands
    }
    programs = sum(path.stat().st_size for path in (bundle / "programs").iterdir())
    same = (scratch / "cpp.glb").read_bytes() == (scratch / "python.glb").read_bytes()
    return {
        "rows": rows,
        "cold_ratio": rows["cpp"]["cold_s"] / rows["python"]["cold_s"],
        "warm_ratio": rows["cpp"]["warm_ms"] / rows["python"]["warm_ms"],
        "program_bytes": programs,
        "above_programs_bytes": peak["cpp"] - programs,
        "same_bytes": same,
        "kit": agreement(tool, bundle, scratch),
    }


def agreement(tool: Path, bundle: Path, scratch: Path) -> dict[str, Any]:
    """How far the library's values are from a kit's that Python made."""
    kit = scratch / f"{bundle.name}-kit"
    finished([sys.executable, "-c", MAIN, "embed-kit", str(bundle), "-o", str(kit)])
    rows = json.loads(finished([str(tool), "check-kit", str(bundle), str(kit), "--json"])[2])["rows"]

    def of(ending: str) -> list[float]:
        return [float(row["found"]) for row in rows if row["name"].endswith(ending)]

    return {
        "compared": len(rows),
        "logits_relative_l2": max(of("logits.npy")),
        "iou": min(of("(IoU)")),
        "equal_files": sum(row["found"] == "equal" for row in rows if row["name"].endswith((".glb", ".ply"))),
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prefix", type=Path, help="where the library is installed")
    parser.add_argument("--int8", type=Path, required=True)
    parser.add_argument("--fp32", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--assets", type=int, default=12)
    options = parser.parse_args()
    tool = options.prefix.absolute() / "bin" / "gen3d"
    libraries = {p.name: p.stat().st_size for p in sorted((options.prefix / "lib").glob("*.so"))}
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        bundles = {
            name: compared(tool, bundle.absolute(), Path(scratch), options.rounds, options.assets)
            for name, bundle in (("int8", options.int8), ("fp32", options.fp32))
        }
    version = subprocess.run([str(tool), "--version"], capture_output=True, text=True, check=True).stdout.strip()
    result = {
        "basis": "measured",
        "prompt": PROMPT,
        "threads": int(THREADS),
        "rounds": options.rounds,
        "assets": options.assets,
        "load_average": load,
        "tool": version,
        "tool_bytes": tool.stat().st_size,
        "libraries": libraries,
        "library_bytes": sum(libraries.values()),
        "bundles": bundles,
    }
    for name, found in bundles.items():
        print(f"{name}: cold {found['cold_ratio']:.3f}, warm {found['warm_ratio']:.2f} of Python's; {found['kit']}")
    result_file.write(RESULT, __file__, result)


if __name__ == "__main__":
    main()
