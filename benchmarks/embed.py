"""One asset of trellis-mini by all that runs bundles: Python, C++, Node, Chromium, Blender; ARM64 for its numbers.

    python benchmarks/embed.py --executorch BUNDLE --onnx BUNDLE --gen3d PREFIX [--bpy PYTHON] [--arm64 TOOL]

The bundles are trellis-mini's for the two targets; PREFIX is where `cmake --install` put the library; PYTHON has bpy;
TOOL is gen3d cross-built (embed/cpp/tools/arm64_under_qemu.sh). Sides take turns. Cold is from the start of a process,
or of a page, to the asset; warm are later assets of the same process. Memory is the most that a process held; a
browser's is the proportional share of all its processes. Differences are from Python with the same bundle: the least
IoU of two requests' voxels (a kit), for the page of one. Writes benchmarks/results/embed.json.
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


def processes(name: str, command: list[str], warm: list[str], row: Row, loop: str) -> None:
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


def least_iou(rows: Any) -> float:
    """Of a kit's rows."""
    return min(float(row["found"]) for row in rows if row["name"].endswith("(IoU)"))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executorch", type=Path, required=True)
    parser.add_argument("--onnx", type=Path, required=True)
    parser.add_argument("--gen3d", type=Path, required=True)
    parser.add_argument("--bpy", type=Path)
    parser.add_argument("--arm64", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--assets", type=int, default=5, help="of a process or page in a round")
    given = parser.parse_args()
    pte, onnx, tool = given.executorch.absolute(), given.onnx.absolute(), given.gen3d.absolute() / "bin" / "gen3d"
    count = str(given.assets + 2)
    load = os.getloadavg()[0]
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        runtime = size(given.gen3d / "lib", tool)
        own = needed(pte)
        node_modules = packages(False)[0].folder.parent
        distribution = node_modules / "onnxruntime-web" / "dist"
        web_files = size(sources() / "src", sources() / "bin", *(distribution / name for name in WASM))
        write_site(onnx, scratch / "site", packages(False), webgpu=False)
        made = stack.enter_context(server(scratch / "site", "127.0.0.1", 0))
        threading.Thread(target=made.serve_forever, daemon=True).start()
        stack.callback(made.shutdown)
        pages = "the site; the browser not counted"
        rows = {
            "python": Row("Python, ExecuTorch", installed("torch", "executorch") + own, "[executorch], programs"),
            "cpp": Row("C++, x86-64", runtime + own, "tool, libraries, programs"),
            "python_onnx": Row("Python, onnxruntime", installed("runtime") + needed(onnx), "[runtime], programs"),
            "node": Row("Node, WASM, 1 thread", web_files + needed(onnx), "package, programs; Node not counted"),
            "chromium 1": Row("Chromium, WASM, 1 thread", size(scratch / "site"), pages),
            "chromium 2": Row("Chromium, WASM, 2 threads", size(scratch / "site"), pages),
        }
        request = ["-p", PROMPT, "--seed", SEED]
        python = [sys.executable, "-c", embed_cpp.MAIN, "run"]
        out = ["-o", str(scratch / "asset.glb")]
        by_cpp = [str(tool), "run", str(pte), *request, *out, "--threads", embed_cpp.THREADS]
        for _ in range(given.rounds):
            for key, bundle in (("python", pte), ("python_onnx", onnx)):
                cold = [*python, str(bundle), *request, *out, "--no-cache"]
                processes(key, cold, [sys.executable, "-c", embed_cpp.WARM, str(bundle), PROMPT, count], rows[key], "")
            processes("cpp", by_cpp, [*by_cpp, "--runs", count, "--json"], rows["cpp"], "run_seconds")
            node(rows["node"], onnx, node_modules, scratch)
            found = {n: in_chromium(rows[f"chromium {n}"], address(made), n, given.assets) for n in (1, 2)}
            if given.bpy:
                blender(rows, given.bpy, scratch, pte, tool, count, runtime + own)
        differences(rows, pte, onnx, tool, node_modules, found, scratch, given.arm64)
    result = {"basis": "measured", "prompt": PROMPT, "rounds": given.rounds, "load_average": [load, os.getloadavg()[0]]}
    result_file.write(RESULT, __file__, {**result, "rows": [row.told() for row in rows.values()]})


def node(row: Row, onnx: Path, node_modules: Path, scratch: Path) -> None:
    """A process of Node, of one asset: what it takes is told by it, and is no later asset of the same process."""
    script = sources() / "bin" / "gen3d-run.js"
    words = [str(shutil.which("node")), str(script), str(onnx), "-p", PROMPT, "-s", SEED, "--runtime", "wasm", "--json"]
    os.chdir(node_modules.parent)
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


def differences(
    rows: dict[str, Row],
    pte: Path,
    onnx: Path,
    tool: Path,
    node_modules: Path,
    found: dict[int, np.ndarray],
    scratch: Path,
    arm64: Path | None,
) -> None:
    """How far each side's voxels are from Python's."""
    kits = {}
    for bundle in (pte, onnx):
        kits[bundle] = scratch / f"{bundle.name}-kit"
        embed_cpp.finished([sys.executable, "-c", embed_cpp.MAIN, "embed-kit", str(bundle), "-o", str(kits[bundle])])
    rows["python"].iou = rows["python_onnx"].iou = 1.0
    checked = ["check-kit", str(pte), str(kits[pte]), "--json"]
    rows["cpp"].iou = least_iou(json.loads(embed_cpp.finished([str(tool), *checked])[2])["rows"])
    if "blender" in rows:
        rows["blender"].iou = rows["cpp"].iou
    if arm64 is not None:
        rows["arm64"] = Row("C++, ARM64 under qemu", 0, "")
        rows["arm64"].iou = least_iou(json.loads(embed_cpp.finished([*QEMU, str(arm64), *checked])[2])["rows"])
    os.chdir(node_modules.parent)
    words = [str(shutil.which("node")), str(sources() / "bin" / "gen3d-run.js"), str(onnx), "--runtime", "wasm"]
    embed_cpp.finished([*words, "--kit", str(kits[onnx]), "--out", str(scratch / "by-node")])
    os.chdir(ROOT)
    judged = check_kit.check(read_kit(kits[onnx]), kits[onnx], scratch / "by-node")
    rows["node"].iou = min(row.found or 0.0 for row in judged if row.name.endswith("/voxels"))
    expected = load(onnx).generate_assets(PROMPT, seed=0)["voxels"].occupancy
    for n, occupancy in found.items():
        both = np.logical_and(occupancy, expected).sum() / np.logical_or(occupancy, expected).sum()
        rows[f"chromium {n}"].iou = float(both)


if __name__ == "__main__":
    main()
