"""CPU time of `gen3dexport ls` above that of a bare Python, against another checkout's.

    git worktree add /tmp/base 5aa9f15 && python benchmarks/cli_start.py /tmp/base [--runs 25] [--arguments ls]

Runs a bare Python, the other checkout's command line and this one's in turns, each in a process of its own with this
environment's packages; user and system seconds as the kernel accounts them for the finished child. Writes
benchmarks/results/cli_start.json. The files that a first run compiles are written before anything counts.
"""

from __future__ import annotations

import argparse
import os
import resource
import shlex
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import result_file

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "cli_start.json"
CODE = "import sys; sys.argv = ['gen3dexport', *sys.argv[1:]]; from gen3dexport.cli import main; main()"


def cpu_seconds(source: Path | None, arguments: list[str]) -> float:
    """User and system seconds of one process: a bare Python, or the command line of the package in `source`."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-c", "pass"]
    if source is not None:
        environment["PYTHONPATH"] = str(source / "src")
        command = [sys.executable, "-c", CODE, *arguments]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, cwd=source, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def commit(checkout: Path) -> str:
    """The commit of a checkout, with a mark when files differ from it."""
    git = ["git", "-C", str(checkout)]
    head = subprocess.run([*git, "rev-parse", "--short=7", "HEAD"], capture_output=True, text=True, check=True)
    changed = subprocess.run([*git, "status", "--porcelain", "src"], capture_output=True, text=True, check=True)
    return head.stdout.strip() + ("+changes" if changed.stdout.strip() else "")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=Path, help="another checkout of this repository")
    parser.add_argument("--runs", type=int, default=25, help="of each, in turns")
    parser.add_argument("--arguments", default="ls", help="of the command line")
    options = parser.parse_args()
    arguments = shlex.split(options.arguments)
    programs: dict[str, Path | None] = {"bare Python": None, "base": options.base.resolve(), "here": ROOT}
    for source in programs.values():
        cpu_seconds(source, arguments)
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(options.runs):
        for name, source in programs.items():
            times[name].append(cpu_seconds(source, arguments))
    median = {name: statistics.median(values) for name, values in times.items()}
    rows: dict[str, Any] = {
        name: {"cpu_s": median[name], "min_s": min(values), "max_s": max(values)} for name, values in times.items()
    }
    for name, source in programs.items():
        if source is not None:
            rows[name] |= {"commit": commit(source), "above_bare_s": median[name] - median["bare Python"]}
    ratio = rows["here"]["above_bare_s"] / rows["base"]["above_bare_s"]
    result = {
        "basis": "measured",
        "arguments": arguments,
        "runs": options.runs,
        "rows": rows,
        "ratio_above_bare": ratio,
    }
    for name, row in rows.items():
        print(f"{name:12} {1000 * row['cpu_s']:7.1f} ms CPU ({1000 * row['min_s']:.1f} to {1000 * row['max_s']:.1f})")
    print(f"here / base, above a bare Python: {ratio:.3f}")
    result_file.write(RESULT, __file__, result)


if __name__ == "__main__":
    main()
