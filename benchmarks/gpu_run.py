"""One run on a GPU host, of a few minutes: CUDA packages of TRELLIS's released structure flow against torch itself.

    python benchmarks/gpu_run.py --out OUT [--bundles FOLDER] [--wheels FOLDER] [--minutes 9] [--check]
    python benchmarks/gpu_run.py --out OUT --device cpu        # the whole of it on a CPU, at the golden sets' size

In order: packages are built in parallel processes, each natively or with the GPU hidden from it; bundles carried in
`--bundles` are validated meanwhile. Then, with nothing else on the machine, in processes of their own: eager float32
(the reference), eager bf16 with torch's and with cuDNN's attention, each package, the bundles again with profiles,
torch.compile, and max-autotune, which may be cut off. Packages whose build was late are timed last.

It installs nothing but the wheels of `--wheels`, into its work folder. `--check` says what is missing here, without
working. It ends by itself after `--minutes`. OUT holds rows.jsonl (each row as it is found, with the kernels that took
most), log.txt, gpu_run_DEVICE.json (for benchmarks/results) and logs.tar.gz (everything that jobs said, the reports and
profiles of bundles).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SRC = HERE.parent / "src"
JOB = HERE / "gpu_job.py"
PACKAGES = (
    *("bf16:deviceless", "fp16:deviceless", "int8-dynamic:deviceless", "float8-dynamic:deviceless"),
    *("int4-weight:deviceless", "bf16:native", "int8-dynamic:native", "float8-dynamic:native"),
    *("bf16:autotune", "int8-dynamic:autotune", "float8-dynamic:autotune"),
)
ON_A_CPU = ("bf16:native", "int8-dynamic:deviceless", "bf16:autotune")
"""SCHEME:KIND of each package; `deviceless` has no GPU while it is built, `autotune` tries kernels on it."""
NEEDED = (
    *("torch", "numpy", "pydantic", "safetensors", "array_api_compat", "platformdirs", "filelock", "ruamel.yaml"),
    *("typer", "rich", "trimesh", "plotly"),
)
"""Modules that it needs; a GPU host without a network gets wheels of those that `--check` names."""
_BUILDING, _COMPILING = 0.45, 0.6
"""Shares of the whole time that builds run undisturbed, and of what is left that torch may compile."""
_AUTOTUNE_S, _LEAST_S = 60.0, 20.0
"""Seconds that must be left to begin a compile, and the timing of a package."""


def missing() -> list[str]:
    """Modules that are not here."""
    lacking = []
    for name in NEEDED:
        try:
            found = importlib.util.find_spec(name) is not None
        except ModuleNotFoundError:
            found = False
        lacking += [] if found else [name]
    return lacking


@dataclass
class Run:
    """A run, its clock and its places.

    Attributes:
        work: for packages and caches, left out of OUT; began: seconds of a clock.
    """

    given: argparse.Namespace
    work: Path
    began: float = field(default_factory=time.monotonic)

    @property
    def out(self) -> Path:
        """The folder of results."""
        out: Path = self.given.out
        return out

    @property
    def left(self) -> float:
        """Seconds until it must have ended."""
        return float(60 * self.given.minutes - (time.monotonic() - self.began))

    def say(self, *words: object) -> None:
        """A line with the time, on the screen and in log.txt."""
        line = f"[{time.monotonic() - self.began:6.1f}] {' '.join(map(str, words))}"
        print(line, flush=True)
        with (self.out / "log.txt").open("a") as file:
            file.write(line + "\n")

    def environment(self, **more: str) -> dict[str, str]:
        """Of a child: this checkout, the carried wheels, no warnings."""
        places = [str(SRC), str(HERE), str(self.work / "site"), os.environ.get("PYTHONPATH", "")]
        own = {"PYTHONPATH": os.pathsep.join(filter(None, places)), "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"}
        return {**os.environ, **own, "KINETO_LOG_LEVEL": "5", **more}

    def command(self, job: str, **values: object) -> list[str]:
        """A job's command line."""
        given = {"device": self.given.device, "arch": self.given.arch, "blocks": self.given.blocks}
        given |= {"runs": self.given.runs, "out": self.out, **values}
        return [sys.executable, str(JOB), job, *(word for k, v in given.items() for word in (f"--{k}", str(v)))]

    def child(self, name: str, command: list[str], most: float) -> int:
        """Run a command to its end, for so many seconds at most; what it says goes to the logs."""
        start, log = time.monotonic(), self.work / "logs" / f"{name}.txt"
        with log.open("w") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, env=self.environment(), start_new_session=True
            )
            try:
                code = process.wait(max(_LEAST_S / 4, min(most, self.left)))
            except subprocess.TimeoutExpired:
                code = 124
            finally:
                if process.poll() is None:  # with the compilers that it started
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        self.say(name, "ok" if code == 0 else f"exit {code}: {_last(log)}", f"{time.monotonic() - start:.0f} s")
        return code


def _last(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "said nothing"


class Builds:
    """Packages that are being built, each by a process with caches of its own: a cache has one lock."""

    def __init__(self, run: Run) -> None:
        self.run, self.ready, self.running = run, [], {}  # type: Run, list[str], dict[str, subprocess.Popen[bytes]]
        for package in run.given.packages:
            scheme, kind = package.split(":")
            folder = run.work / package.replace(":", "-")
            folder.mkdir()
            own = {"GEN3DEXPORT_CACHE": str(folder / "cache"), "TRITON_CACHE_DIR": str(folder / "triton")}
            own["OMP_NUM_THREADS"] = "2"
            if kind == "deviceless":
                own["CUDA_VISIBLE_DEVICES"] = ""
            command = run.command("build", scheme=scheme, kind=kind, folder=folder)
            with self._log(package).open("w") as file:
                environment = run.environment(**own)
                self.running[package] = subprocess.Popen(
                    command, stdout=file, stderr=subprocess.STDOUT, env=environment, start_new_session=True
                )

    def _log(self, package: str) -> Path:
        return self.run.work / "logs" / f"build-{package.replace(':', '-')}.txt"

    def collect(self) -> None:
        """Take note of the builds that have ended."""
        for package, process in list(self.running.items()):
            if (code := process.poll()) is not None:
                del self.running[package]
                self.run.say("built", package, "" if code == 0 else f"failed: {_last(self._log(package))}")
                self.ready += [package] if code == 0 else []

    def wait(self, seconds: float) -> None:
        """Until all have ended, or for so many seconds."""
        end = time.monotonic() + seconds
        while self.running and time.monotonic() < end:
            self.collect()
            time.sleep(0.2)

    def stop(self) -> None:
        """End those that still run, and the compilers that they started."""
        self.collect()
        for package, process in self.running.items():
            self.run.say("stopped the build of", package)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.running.clear()

    def pause(self, go_on: bool = False) -> None:
        """Hold those that still run while others are timed, or let them go on."""
        self.collect()
        for process in self.running.values():
            os.killpg(process.pid, signal.SIGCONT if go_on else signal.SIGSTOP)


def bundles(run: Run, when: str) -> None:
    """Validate and, when the machine is quiet, profile the carried bundles."""
    if run.given.bundles is None:
        return
    for bundle in sorted(p for p in run.given.bundles.iterdir() if (p / "manifest.json").is_file()):
        place = run.work / "logs" / f"{bundle.name}-{when}"
        tool = [sys.executable, "-m", "gen3dexport"]
        run.child(f"validate-{bundle.name}-{when}", [*tool, "validate", str(bundle), "-o", str(place)], 120)
        if when == "quiet" and run.left > _AUTOTUNE_S:
            run.child(f"profile-{bundle.name}", [*tool, "profile", str(bundle), "-o", f"{place}-profile"], 90)


def work(run: Run) -> None:
    """All of it, in the order of the docstring at the top."""
    timed: set[str] = set()
    builds = Builds(run)

    def time_packages() -> None:
        for package in list(builds.ready):
            if package not in timed and run.left > _LEAST_S:
                timed.add(package)
                folder, kind = run.work / package.replace(":", "-"), package.split(":")[1]
                most = 60 if run.given.device == "cuda" else 200
                run.child(f"package-{folder.name}", run.command("package", kind=kind, folder=folder), most)

    try:
        bundles(run, "busy")
        builds.wait(60 * run.given.minutes * _BUILDING - (time.monotonic() - run.began))
        builds.pause()
        run.say("quiet; still to be built:", *builds.running or ["nothing"])
        run.child("eager", run.command("eager", kind="plain"), run.left / 2)
        time_packages()
        bundles(run, "quiet")
        for kind in () if run.given.short else ("compile", "autotune"):
            if run.left > _AUTOTUNE_S:
                run.child(f"torch-{kind}", run.command("eager", kind=kind), run.left * _COMPILING)
        if builds.running:
            builds.pause(go_on=True)
            builds.wait(run.left - 3 * _LEAST_S)
            builds.stop()
            time_packages()
    finally:
        builds.pause(go_on=True)
        builds.stop()


def finish(run: Run) -> None:
    """The result file of what was found, the table, and the logs in one archive."""
    sys.path[:0] = [str(SRC), str(run.work / "site")]
    import gpu_job
    import result_file
    import torch

    cuda = run.given.device == "cuda"
    path = run.out / gpu_job.ROWS
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    device = torch.cuda.get_device_name(0) if cuda else result_file.cpu()
    facts = {
        "device": device,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
    }
    facts |= {"network": gpu_job.NETWORK if cuda else gpu_job.TINY, "blocks": run.given.blocks, "runs": run.given.runs}
    name = f"gpu_run_{device.replace(' ', '_') if cuda else 'cpu'}.json"
    result_file.write(run.out / name, __file__, {**facts, "rows": rows}, device)
    print(table(rows))
    with tarfile.open(run.out / "logs.tar.gz", "w:gz") as archive:
        archive.add(run.work / "logs", "logs")
    (run.out / gpu_job.REFERENCE).unlink(missing_ok=True)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows for people; times are measured, each also over eager bf16's."""
    bf16 = next((row.get("p50_ms") for row in rows if row["program"] == "eager bf16"), None)
    lines = [("program", "p50 ms", "p90 ms", "stream ms", "× eager bf16", "rel. L2", "device MB", "build s")]
    for row in rows:
        if "error" in row:
            lines.append((row["program"], *("–",) * 6, row["error"][:60]))
            continue
        times = [f"{row[key]:.2f}" if row.get(key) else "–" for key in ("p50_ms", "p90_ms", "stream_ms")]
        ratio = f"{row['p50_ms'] / bf16:.2f}" if bf16 else "–"
        error = f"{row['relative_l2_fp32']:.1e}" if "relative_l2_fp32" in row else "–"
        memory = f"{row['device_bytes'] / 1e6:.0f}" if "device_bytes" in row else "–"
        lines.append(
            (row["program"], *times, ratio, error, memory, f"{row['build_s']:.0f}" if row.get("build_s") else "–")
        )
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    return "\n".join("  ".join(f"{c:{w}}" for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def _install(wheels: Path, place: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", str(place)]
    subprocess.run([*command, *map(str, sorted(wheels.glob("*.whl")))], check=True)
    sys.path.insert(0, str(place))
    importlib.invalidate_caches()


def _problems(given: argparse.Namespace) -> list[str]:
    """What is missing here, each with its remedy."""
    problems = [f"{name}: not installed; carry its wheel in the folder of --wheels" for name in missing()]
    if not problems:
        from gen3dexport.backends.aotinductor import toolchain

        problems = toolchain.missing(given.device)
        if given.device == "cuda" and not problems:
            import torch

            if not torch.cuda.is_available():
                return ["no CUDA device; run this on a GPU host, or with --device cpu"]
            given.arch = "sm_{}{}".format(*torch.cuda.get_device_capability(0))
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--bundles", type=Path, help="bundles that were built elsewhere")
    parser.add_argument("--wheels", type=Path, help="wheels of packages that are missing here")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--blocks", type=int, help="of the flow; default 24, on a CPU 1")
    parser.add_argument("--runs", type=int, help="timed calls of each program; default 50, on a CPU 5")
    parser.add_argument("--packages", nargs="*", help="SCHEME:KIND, where not all are to be built")
    parser.add_argument("--short", action="store_true", help="without torch.compile")
    parser.add_argument("--check", action="store_true", help="only say what is missing here")
    given = parser.parse_args()
    cpu = given.device == "cpu"
    given.arch, given.out = "", given.out.absolute()
    given.blocks, given.runs = given.blocks or (1 if cpu else 24), given.runs or (5 if cpu else 50)
    given.packages = list((ON_A_CPU if cpu else PACKAGES) if given.packages is None else given.packages)
    sys.path.insert(0, str(SRC))
    run = Run(given, Path(tempfile.mkdtemp(prefix="gpu-run-")))
    try:
        if given.wheels is not None:
            _install(given.wheels, run.work / "site")
        problems = _problems(given)
        if problems or given.check:
            print("\n".join(problems) or "nothing is missing")
            sys.exit(3 if problems else 0)
        given.out.mkdir(parents=True, exist_ok=True)
        (run.work / "logs").mkdir()
        run.say(f"{given.device} {given.arch}, {os.cpu_count()} cores, {given.minutes:g} minutes")
        try:
            work(run)
        finally:
            finish(run)
    finally:
        shutil.rmtree(run.work, ignore_errors=True)


if __name__ == "__main__":
    main()
