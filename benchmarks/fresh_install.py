"""What `pip install` of the wheel gives in fresh environments: disk, first asset, memory.

    python benchmarks/fresh_install.py base runtime=ONNX_BUNDLE runtime=EXECUTORCH_BUNDLE executorch=EXECUTORCH_BUNDLE
        [--python PYTHON3.12] [--runs 5] [--folder PLACE]

Builds the wheel of this checkout and makes an environment for each extra (`base`: none), with the versions of
constraints.txt and nothing of this environment. For each bundle it starts `gen3dexport run` as many times, in a process
of its own each, the first uncounted: seconds from the start of the process to the file of the asset, and the most
memory that the kernel accounts for it; once with the prompt's encoder, once with what that made before. Needs a package
index; the extra `executorch` takes 6 GB of disk where torch comes with CUDA. Environments are removed at the end unless
--folder names a place for them. Writes benchmarks/results/fresh_install.json.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import result_file

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "fresh_install.json"
PROMPT = "a tall chair"
CODE = """
import json, sys
from gen3dexport.cli import main
try:
    main()
finally:
    print(json.dumps("torch" in sys.modules), file=sys.stderr)
"""


def clean() -> dict[str, str]:
    """The environment without what this one's Python and package are told, and with no cache of pip's."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "GEN3DEXPORT_", "VIRTUAL_ENV"))}
    return {**kept, "PIP_NO_CACHE_DIR": "1"}


def built(folder: Path) -> Path:
    """The wheel of this checkout."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(python: str, extra: str, wheel: Path, place: Path) -> dict[str, Any]:
    """A new environment with the wheel; how long pip took, and what is there."""
    subprocess.run([python, "-m", "venv", str(place)], check=True)
    own = place / "bin" / "python"
    what = f"gen3dexport{'' if extra == 'base' else f'[{extra}]'} @ {wheel.as_uri()}"
    start = time.perf_counter()
    command = [str(own), "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), what]
    subprocess.run(command, check=True, env=clean(), cwd=place)
    seconds = time.perf_counter() - start
    (packages,) = place.glob("lib/python3*/site-packages")
    sizes = {path.name: disk_bytes(path) for path in packages.iterdir()}
    largest = sorted(sizes, key=lambda name: -sizes[name])[:6]
    return {
        "extra": extra,
        "install_seconds": seconds,
        "bytes": sum(sizes.values()),
        "largest": {name: sizes[name] for name in largest},
    }


def disk_bytes(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file() and not p.is_symlink())


def first_asset(python: Path, bundle: Path, folder: Path, runs: int, kept: bool) -> dict[str, Any]:
    """Start `gen3dexport run` in an environment so many times; `kept`: with what the encoder made the first time."""
    out = folder / "asset.npz"
    arguments = ["run", str(bundle), "--prompt", PROMPT, "-o", str(out), "--cache" if kept else "--no-cache", "--json"]
    environment = {**clean(), "GEN3DEXPORT_CACHE": str(folder / "cache")}
    seconds, memory = [], []
    for _ in range(runs + 1):
        start = time.perf_counter()
        with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
            process = subprocess.Popen(
                [str(python), "-c", CODE, *arguments], cwd=folder, env=environment, stdout=said, stderr=complained
            )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            seconds.append(time.perf_counter() - start)
            said.seek(0)
            complained.seek(0)
            assert process.returncode == 0, said.read() + complained.read()
            told, torch = json.load(said), json.loads(complained.read().splitlines()[-1])
        memory.append(usage.ru_maxrss * 1024)
    return {
        "basis": "measured",
        "bundle_target": json.loads((bundle / "manifest.json").read_text())["target"]["name"],
        "runtime": told["runtime"],
        "torch_imported": torch,
        "encoder_kept": kept,
        "seconds": statistics.median(seconds[1:]),
        "least_seconds": min(seconds[1:]),
        "peak_bytes": statistics.median(memory[1:]),
        "sha256": hashlib.sha256(out.read_bytes()).hexdigest(),
    }


def main() -> None:
    """Install, run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wanted", nargs="+", metavar="EXTRA[=BUNDLE]")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where environments are made and kept")
    options = parser.parse_args()
    wanted: dict[str, list[Path]] = {}
    for extra, _, bundle in (word.partition("=") for word in options.wanted):
        wanted.setdefault(extra, []).extend([Path(bundle).absolute()] if bundle else [])
    version = subprocess.run([options.python, "--version"], capture_output=True, text=True, check=True).stdout.split()[
        1
    ]
    environments, rows = [], []
    with ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gen3dexport-fresh-")))
        folder.mkdir(parents=True, exist_ok=True)
        wheel = built(folder / "dist")
        for extra, bundles in wanted.items():
            place = folder / extra
            environments.append(install(options.python, extra, wheel, place))
            print(f"{extra}: {environments[-1]['bytes'] / 1e6:.0f} MB, {environments[-1]['largest']}", flush=True)
            for bundle, kept in itertools.product(bundles, (False, True)):
                row = {"extra": extra, "load_average": os.getloadavg()[0]}
                rows.append(row | first_asset(place / "bin" / "python", bundle, folder, options.runs, kept))
                print(rows[-1], flush=True)
        content = {"basis": "measured", "python": version, "runs": options.runs, "wheel_bytes": wheel.stat().st_size}
    result_file.write(RESULT, __file__, {**content, "environments": environments, "rows": rows})


if __name__ == "__main__":
    main()
