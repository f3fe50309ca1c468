"""A bundle's page in Chromium against Python's onnxruntime: time, difference and size, in turns on one machine.

    python benchmarks/web.py BUNDLE [BUNDLE ...] [--rounds N] [--assets N]

Each BUNDLE is of target onnx. Every variant makes the bundle's first golden prompt, whole: tokens to mesh. A round lets
one after the other make some assets, the first of a round to warm up. Results go to results/web.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import result_file

from gen3dexport.runtime.pipeline import load
from gen3dexport.web.packages import packages
from gen3dexport.web.serve import address, server
from gen3dexport.web.site import write_site

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from chromium import Page

RESULT = Path(__file__).parent / "results" / "web.json"
STATE = "document.documentElement.dataset.state"
PAUSE_S = 0.2
Asset = Callable[[], tuple[float, np.ndarray]]  # -> milliseconds, occupancy


def in_python(bundle: Path, prompt: str, threads: int) -> Asset:
    """Assets by Python's onnxruntime; sessions are made with so many threads."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(threads)
    loaded = load(bundle)
    loaded.load_programs()
    os.environ.pop("OMP_NUM_THREADS")
    if before is not None:
        os.environ["OMP_NUM_THREADS"] = before

    def asset() -> tuple[float, np.ndarray]:
        start = time.perf_counter()
        made = loaded.generate_assets(prompt, seed=0)
        return 1e3 * (time.perf_counter() - start), made["voxels"].occupancy

    return asset


def in_chromium(site: str, prompt: str, threads: int, stack: ExitStack) -> tuple[Asset, float]:
    """Assets by a page, and milliseconds that it took to load the bundle."""
    page = stack.enter_context(Page())
    page.go(f"{site}?runtime=wasm+{threads}")
    page.wait(f"{STATE} === 'ready'", 300)
    loading = page.value("document.getElementById('status').innerText")
    page.value(f"document.getElementById('prompt').value = {prompt!r}")

    def asset() -> tuple[float, np.ndarray]:
        page.value("document.getElementById('make').click()")
        page.wait(f"{STATE} === 'done'", 300)
        bits = page.value("Array.from(gen3d.last.assets.voxels.data).join('')")
        resolution = page.value("gen3d.last.assets.voxels.resolution")
        occupancy = np.array(list(bits), int).reshape((resolution,) * 3) > 0
        return float(page.value("document.documentElement.dataset.milliseconds")), occupancy

    return asset, 1e3 * float(loading.split()[-2])


def compare(bundle: Path, rounds: int, assets: int) -> dict[str, Any]:
    """One bundle's row for each variant."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    prompt = manifest["recipe"]["golden"]["prompts"][0]
    scheme = next(p["scheme"] for p in manifest["programs"] if p["component"] == "flow")
    rows: dict[str, dict[str, Any]] = {}
    loads: dict[str, float] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_site(bundle, folder / "site", packages(False), webgpu=False)
        sizes = {p.relative_to(folder / "site"): p.stat().st_size for p in (folder / "site").rglob("*") if p.is_file()}
        bundled = sum(size for path, size in sizes.items() if path.parts[0] == "bundle")
        made = stack.enter_context(server(folder / "site", "127.0.0.1", 0))
        threading.Thread(target=made.serve_forever, daemon=True).start()
        stack.callback(made.shutdown)
        variants: dict[str, Asset] = {f"python, {n} thread": in_python(bundle, prompt, n) for n in (1,)}
        for n in (1, 2):
            name = f"chromium, {n} thread{'s' if n > 1 else ''}"
            variants[name], loads[name] = in_chromium(address(made), prompt, n, stack)
        times: dict[str, list[float]] = {name: [] for name in variants}
        found: dict[str, np.ndarray] = {}
        load_average = []
        for _ in range(rounds):
            for name, asset in variants.items():
                time.sleep(PAUSE_S)
                for number in range(assets + 1):
                    milliseconds, found[name] = asset()
                    times[name] += [milliseconds] if number else []
                load_average.append(os.getloadavg()[0])
        reference = next(iter(variants))
        for name, some in times.items():
            both = np.logical_and(found[name], found[reference]).sum()
            iou = float(both / np.logical_or(found[name], found[reference]).sum())
            row = {"assets": len(some), "p50_ms": median(some), "min_ms": min(some)}
            row["ratio"] = median(some) / median(times[reference])
            row["ratio_of_minima"] = min(some) / min(times[reference])
            rows[name] = {**row, "iou": iou, **({"load_ms": loads[name]} if name in loads else {})}
            print(scheme, name, rows[name], flush=True)
    size = {"page_bytes": sum(sizes.values()) - bundled, "bundle_bytes": bundled}
    return {"scheme": scheme, **size, "load_average": [min(load_average), max(load_average)], "variants": rows}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--assets", type=int, default=3, help="timed ones of a variant in a round")
    given = parser.parse_args()
    compared = [compare(bundle, given.rounds, given.assets) for bundle in given.bundles]
    result_file.write(RESULT, __file__, {"bundles": compared})


if __name__ == "__main__":
    main()
