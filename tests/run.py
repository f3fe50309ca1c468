"""Runs tests: each job a process of its own, as many at a time as there are cores, the longest first.

    python tests/run.py check        ruff, mypy and the unit tests
    python tests/run.py training     what was trained, and what it was trained on
    python tests/run.py rest         whole lines, families, benchmarks, every backend

Vendors' packages change torch for the whole process (torchax adds a device), so a backend's folder is a job. Jobs have
one thread each and share one stage cache and one compiler cache, which are removed at the end. What a job says is
printed when it ends; exit status 1 when any failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

HERE = Path(__file__).parent
LONGEST_FIRST = ("aotinductor", "line", "executorch", "trellis", "embed_cpp", "xla", "onnx", "eager")
Job = tuple[str, list[str]]


def jobs(group: str) -> list[Job]:
    """The jobs of a group: what each is called, and its command."""
    if group == "check":
        tools = {"ruff check": ["ruff", "check", "."], "ruff format": ["ruff", "format", "--check", "."]}
        return [*_parts("unit", 3), ("mypy", ["-m", "mypy"]), *((name, ["-m", *tool]) for name, tool in tools.items())]
    if group == "training":
        return [_tests("training")]
    folders = [f"{room}/{path.name}" for room in ("backends", "families") for path in _folders(HERE / room)]
    apart = ("backends", "families", "line", "training", "unit")
    others = [path.name for path in _folders(HERE) if path.name not in apart]
    found = [_tests(name) for name in (*folders, *others) if any((HERE / name).glob("test_*.py"))]
    found += _parts("line", 3)
    homeless = [path for room in ("", "backends", "families") for path in (HERE / room).glob("test_*.py")]
    found += [_tests("homeless", *homeless)] if homeless else []
    return found


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))


def _length(name: str) -> int:
    name = Path(name).name.split()[0]
    return LONGEST_FIRST.index(name) if name in LONGEST_FIRST else len(LONGEST_FIRST)


def _parts(name: str, count: int) -> list[Job]:
    """A folder's files as so many jobs of about as much text: one job would run longest, and alone at the end."""
    parts: list[list[Path]] = [[] for _ in range(count)]
    for file in sorted((HERE / name).glob("test_*.py"), key=lambda path: -path.stat().st_size):
        min(parts, key=lambda part: sum(path.stat().st_size for path in part)).append(file)
    return [_tests(f"{name} {k + 1} of {count}", *part) for k, part in enumerate(parts)]


def _tests(name: str, *files: Path) -> Job:
    # Torch's trace of every export would go to pytest's log capture, a tenth of the time; no test reads logs.
    plugins = ("no:cacheprovider", "no:logging")
    return name, ["-m", "pytest", *map(str, files or (HERE / name,)), *(f"-p{plugin}" for plugin in plugins)]


def run(job: Job, environment: dict[str, str]) -> tuple[bool, str]:
    """Whether the job passed (pytest's status 5, no tests, is no failure), and what it said with its time."""
    name, command = job
    start = time.monotonic()
    done = subprocess.run([sys.executable, *command], cwd=HERE.parent, env=environment, capture_output=True, text=True)
    text = (done.stdout + done.stderr).strip()
    return done.returncode in (0, 5), f"== {name}\n{text}\n== {name}: {time.monotonic() - start:.0f} s\n"


def main(*groups: str) -> int:
    """Run the jobs of the groups; 1 when one failed."""
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="gen3dexport-tests-") as scratch:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GEN3DEXPORT_TEST_CACHE": f"{scratch}/cache"}
        environment["TORCHINDUCTOR_CACHE_DIR"] = f"{scratch}/inductor"
        with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
            every = sorted((job for group in groups for job in jobs(group)), key=lambda job: _length(job[0]))
            running = {pool.submit(run, job, environment): job[0] for job in every}
            for future in as_completed(running):
                passed, text = future.result()
                print(text, flush=True)
                failed += [] if passed else [running[future]]
    print(f"failed: {', '.join(failed)}" if failed else f"{' and '.join(groups)}: passed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
