"""One asset of trellis-mini by all that runs bundles: Python, C++, Node, Chromium, Blender; ARM64 for its numbers.

    python benchmarks/embed.py --executorch BUNDLE --gen3d PREFIX [--onnx BUNDLE] [--bpy PYTHON] [--arm64 TOOL]

The bundles are trellis-mini's for the two targets; PREFIX is where `cmake --install` put the library; PYTHON has bpy;
TOOL is gen3d cross-built (embed/cpp/tools/arm64_under_qemu.sh). Sides take turns. Cold is from the start of a process,
or of a page, to the asset; warm are later assets of the same process. Memory is the most that a process held; a
browser's is the proportional share of all its processes. Differences are from Python with the same bundle: the least
IoU of two requests' voxels (a kit), for the page of one. With --without-times, for a machine with other work to do,
sizes and differences alone: times and memory stay unmeasured. Writes benchmarks/results/embed.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import embed_cpp
import numpy as np
import psutil
import result_file
import web
from packaging.requirements import Requirement

from gen3dexport.host_steps import check_kit
from gen3dexport.host_steps.kit import read_kit
from gen3dexport.runtime import load
from gen3dexport.web.packages import packages, sources
from gen3dexport.web.serve import address, server
from gen3dexport.web.site import write_site

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "embed.json"
PROMPT, SEED = embed_cpp.PROMPT, "3"
WASM = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
QEMU = ("qemu-aarch64-static", "-cpu", "cortex-a76", "-L", "/usr/aarch64-linux-gnu")
IN_BLENDER = """
import json, sys, time, bpy
archive, bundle, prompt, tool, count = sys.argv[1:]
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
bpy.context.preferences.addons["bl_ext.user_default.gen3dexport"].preferences.executable = tool
wish = bpy.context.scene.gen3dexport
wish.bundle, wish.prompt, wish.seed, wish.replace = bundle, prompt, 3, True
times = []
for _ in range(int(count)):
    start = time.perf_counter()
    assert bpy.ops.gen3dexport.make() == {"FINISHED"}
    times.append(time.perf_counter() - start)
print(json.dumps(times))
"""


class Row:
    """What one side took, gathered over rounds."""

    def __init__(self, name: str, disk: int, parts: str) -> None:
        self.name, self.disk, self.parts = name, disk, parts
        self.cold: list[float] = []
        self.warm: list[float] = []
        self.peak = 0
        self.iou: float | None = None

    def forget_times(self) -> None:
        """What was taken on the way to a difference is no measurement."""
        self.cold, self.warm, self.peak = [], [], 0

    def told(self) -> dict[str, Any]:
        """The row of the result."""
        found = {"name": self.name, "disk_bytes": self.disk, "disk": self.parts, "iou": self.iou}
        found["cold_s"] = median(self.cold) if self.cold else None
        found["warm_ms"] = 1e3 * median(self.warm) if self.warm else None
        return found | {"peak_bytes": self.peak or None}


def size(*paths: Path) -> int:
    """Bytes of files and of folders' files."""
    files = [f for p in paths for f in (p.rglob("*") if p.is_dir() else (p,)) if f.is_file() and not f.is_symlink()]
    return sum(f.stat().st_size for f in files)


def needed(bundle: Path) -> int:
    """Bytes of a bundle that an application ships: no golden data, no reports."""
    return size(bundle / "programs", bundle / "host", bundle / "manifest.json")


def installed(*extras: str) -> int:
    """Bytes of the distributions that gen3dexport with these extras requires, directly or not; not its own."""
    waiting, seen, total = _required("gen3dexport", *extras), {"gen3dexport"}, 0
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            files = metadata.distribution(name).files or ()
        except metadata.PackageNotFoundError:
            continue
        total += size(*(path for f in files if (path := Path(str(f.locate()))).is_file()))
        waiting += _required(name)
    return total


def _required(name: str, *extras: str) -> list[str]:
    """Names that a distribution requires."""
    every = [Requirement(text) for text in metadata.requires(name) or ()]
    held = [{"extra": extra} for extra in ("", *extras)]
    wanted = [one for one in every if one.marker is None or any(one.marker.evaluate(extra) for extra in held)]
    return [one.name.lower().replace("_", "-") for one in wanted]


def processes(command: list[str], warm: list[str], row: Row, loop: str) -> None:
    """A cold process and a warm one."""
    seconds, peak, _ = embed_cpp.finished(command)
    row.cold.append(seconds)
    row.peak = max(row.peak, peak)
    said = json.loads(embed_cpp.finished(warm)[2])
    row.warm += (said[loop] if loop else said)[2:]


def in_chromium(row: Row, site: str, threads: int, assets: int) -> np.ndarray:
    """A page of its own: from its address to the first asset, then more."""
    with ExitStack() as stack:
        start = time.perf_counter()
        asset, _ = web.in_chromium(site, PROMPT, threads, stack)
        _, occupancy = asset()
        row.cold.append(time.perf_counter() - start)
        row.warm += [asset()[0] / 1e3 for _ in range(assets)]
        started = [child for child in psutil.Process().children() if "chrom" in child.name()]
        family = [p for child in started for p in (child, *child.children(recursive=True))]
        row.peak = max(row.peak, sum(p.memory_full_info().pss for p in family))
    return occupancy


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executorch", type=Path, required=True)
    parser.add_argument("--onnx", type=Path, help="without, no browser and no Node")
    parser.add_argument("--gen3d", type=Path, required=True)
    parser.add_argument("--bpy", type=Path)
    parser.add_argument("--arm64", type=Path)
    parser.add_argument("--without-times", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--assets", type=int, default=5, help="of a process or page in a round")
    given = parser.parse_args()
    pte, tool = given.executorch.absolute(), given.gen3d.absolute() / "bin" / "gen3d"
    onnx = given.onnx.absolute() if given.onnx else None
    count, load = str(given.assets + 2), os.getloadavg()[0]
    runtime, own = size(given.gen3d / "lib", tool), needed(pte)
    rows = {
        "python": Row("Python, ExecuTorch", installed("torch", "executorch") + own, "[executorch], programs"),
        "cpp": Row("C++, x86-64", runtime + own, "tool, libraries, programs"),
    }
    request = ["-p", PROMPT, "--seed", SEED]
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        site = in_the_web(rows, onnx, scratch, stack) if onnx else ""
        out = ["-o", str(scratch / "asset.glb")]
        by_cpp = [str(tool), "run", str(pte), *request, *out, "--threads", embed_cpp.THREADS]
        pages: dict[int, np.ndarray] = {}
        for _ in range(0 if given.without_times else given.rounds):
            for key, bundle in (("python", pte), ("python_onnx", onnx)):
                if bundle is not None:
                    python = [sys.executable, "-c", embed_cpp.MAIN, "run", str(bundle), *request, *out, "--no-cache"]
                    later = [sys.executable, "-c", embed_cpp.WARM, str(bundle), PROMPT, count]
                    processes(python, later, rows[key], "")
            processes(by_cpp, [*by_cpp, "--runs", count, "--json"], rows["cpp"], "run_seconds")
            if onnx is not None:
                node(rows["node"], onnx, scratch)
                pages = {n: in_chromium(rows[f"chromium {n}"], site, n, given.assets) for n in (1, 2)}
            if given.bpy:
                blender(rows, given.bpy, scratch, pte, tool, count, runtime + own)
        if given.without_times:
            if onnx is not None:
                pages = {n: in_chromium(rows[f"chromium {n}"], site, n, 0) for n in (1, 2)}
            if given.bpy:
                blender(rows, given.bpy, scratch, pte, tool, "1", runtime + own)
            for row in rows.values():
                row.forget_times()
        of_executorch(rows, pte, tool, scratch, given.arm64)
        if onnx is not None:
            of_onnx(rows, onnx, pages, scratch)
    result = {"basis": "measured", "times": "unmeasured" if given.without_times else "measured", "prompt": PROMPT}
    result |= {"rounds": given.rounds, "load_average": [load, os.getloadavg()[0]]}
    result_file.write(RESULT, __file__, {**result, "rows": [row.told() for row in rows.values()]})


def in_the_web(rows: dict[str, Row], onnx: Path, scratch: Path, stack: ExitStack) -> str:
    """The rows of an ONNX bundle, and the address of its page."""
    distribution = node_modules() / "onnxruntime-web" / "dist"
    files = size(sources() / "src", sources() / "bin", *(distribution / name for name in WASM))
    write_site(onnx, scratch / "site", packages(False), webgpu=False)
    made = stack.enter_context(server(scratch / "site", "127.0.0.1", 0))
    threading.Thread(target=made.serve_forever, daemon=True).start()
    stack.callback(made.shutdown)
    rows["python_onnx"] = Row("Python, onnxruntime", installed("runtime") + needed(onnx), "[runtime], programs")
    rows["node"] = Row("Node, WASM, 1 thread", files + needed(onnx), "package, programs; Node not counted")
    for n, threads in ((1, "1 thread"), (2, "2 threads")):
        whole = size(scratch / "site")
        rows[f"chromium {n}"] = Row(f"Chromium, WASM, {threads}", whole, "the site; the browser not counted")
    return address(made)


def node_modules() -> Path:
    """Where the pinned packages of npm lie."""
    return packages(False)[0].folder.parent


def _where_node_looks(scratch: Path) -> Path:
    """A folder whose `node_modules` are the pinned packages, under the name that Node looks for."""
    if not (scratch / "node_modules").is_symlink():
        (scratch / "node_modules").symlink_to(node_modules())
    return scratch


def node(row: Row, onnx: Path, scratch: Path) -> None:
    """A process of Node, of one asset: what it takes is told by it, and is no later asset of the same process."""
    script = sources() / "bin" / "gen3d-run.js"
    words = [str(shutil.which("node")), str(script), str(onnx), "-p", PROMPT, "-s", SEED, "--runtime", "wasm", "--json"]
    os.chdir(_where_node_looks(scratch))
    seconds, peak, text = embed_cpp.finished([*words, "-o", str(scratch / "node.glb")])
    os.chdir(ROOT)
    row.cold.append(seconds)
    row.peak = max(row.peak, peak)
    row.warm.append(json.loads(text)["milliseconds"]["all"] / 1e3)


def blender(rows: dict[str, Row], bpy: Path, scratch: Path, pte: Path, tool: Path, count: str, disk: int) -> None:
    """Make, pressed in an open Blender: a process of the C++ tool each time, and the import."""
    words = [sys.executable, str(ROOT / "embed" / "blender_zip.py"), str(scratch)]
    archive = Path(subprocess.check_output(words, text=True).strip())
    parts = "extension, tool, libraries, programs; Blender not counted"
    row = rows.setdefault("blender", Row("Blender, by the C++ tool", disk + size(archive), parts))
    environment = {**os.environ, "BLENDER_USER_RESOURCES": str(scratch / "blender")}
    words = [str(bpy), "-c", IN_BLENDER, str(archive), str(pte), PROMPT, str(tool), count]
    text = subprocess.check_output(words, env=environment, text=True, stderr=subprocess.DEVNULL)
    times = json.loads(text.strip().splitlines()[-1])
    row.cold.append(times[0])
    row.warm += times[2:]
    row.peak = rows["cpp"].peak


def kit_of(bundle: Path, scratch: Path) -> Path:
    """What Python makes of two requests."""
    kit = scratch / f"{bundle.name}-kit"
    embed_cpp.finished([sys.executable, "-c", embed_cpp.MAIN, "embed-kit", str(bundle), "-o", str(kit)])
    return kit


def of_executorch(rows: dict[str, Row], pte: Path, tool: Path, scratch: Path, arm64: Path | None) -> None:
    """How far the tool's voxels are from Python's, here and under qemu."""

    def checked(*start: str) -> float:
        words = [*start, "check-kit", str(pte), str(kit), "--json"]
        found = json.loads(embed_cpp.finished(words)[2])["rows"]
        return min(float(row["found"]) for row in found if row["name"].endswith("(IoU)"))

    kit = kit_of(pte, scratch)
    rows["python"].iou, rows["cpp"].iou = 1.0, checked(str(tool))
    if "blender" in rows:
        rows["blender"].iou = rows["cpp"].iou
    if arm64 is not None:
        rows["arm64"] = Row("C++, ARM64 under qemu", 0, "")
        rows["arm64"].iou = checked(*QEMU, str(arm64))


def of_onnx(rows: dict[str, Row], onnx: Path, pages: dict[int, np.ndarray], scratch: Path) -> None:
    """How far Node's and the page's voxels are from Python's."""
    kit, own = kit_of(onnx, scratch), scratch / "by-node"
    os.chdir(_where_node_looks(scratch))
    words = [str(shutil.which("node")), str(sources() / "bin" / "gen3d-run.js"), str(onnx), "--runtime", "wasm"]
    embed_cpp.finished([*words, "--kit", str(kit), "--out", str(own)])
    os.chdir(ROOT)
    judged = check_kit.check(read_kit(kit), kit, own)
    rows["python_onnx"].iou = 1.0
    rows["node"].iou = min(row.found or 0.0 for row in judged if row.name.endswith("/voxels"))
    expected = load(onnx).generate_assets(PROMPT, seed=0)["voxels"].occupancy  # the page's seed
    for n, occupancy in pages.items():
        both = np.logical_and(occupancy, expected).sum() / np.logical_or(occupancy, expected).sum()
        rows[f"chromium {n}"].iou = float(both)


if __name__ == "__main__":
    main()
