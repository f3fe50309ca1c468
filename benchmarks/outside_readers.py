"""What other programs find in our files, against what was written; prints a table.

    npm install --prefix MODULES benchmarks/outside_readers   (a folder of your own; also needs Chromium)
    python benchmarks/outside_readers.py MODULES [--bundle BUNDLE --prompt TEXT] [--blender PYTHON] [-o FOLDER]

Readers: Khronos' glTF validator, three.js, PlayCanvas, Babylon.js and Spark in Chromium, splat-transform, the reference
library of SPZ, and Blender where a Python with `bpy` is named. Pictures of what they show lie in FOLDER. Without a
bundle, the findings go to results/outside_readers.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import result_file

from gen3dexport.assets import files
from gen3dexport.assets.colour import linear_light
from gen3dexport.assets.gaussian_files import VIEWER_FRAME
from gen3dexport.assets.gaussians import SH_C0, Gaussians, rotation_matrices
from gen3dexport.assets.glb import TO_Y_UP
from gen3dexport.assets.mesh import Mesh, from_occupancy_logits

HERE = Path(__file__).with_suffix("")  # the folder of what runs in Node, Chromium and Blender
RESULT = Path(__file__).parent / "results" / "outside_readers.json"
ENDINGS = (".glb", ".obj", ".ply", ".stl", ".usda")
Found = dict[str, Any]


def sample() -> tuple[Mesh, Gaussians]:
    """A chair without symmetry, red in front and blue at the back, as a mesh and as Gaussians on its vertices."""
    resolution = 48
    x, y, z = np.meshgrid(*[(np.arange(resolution) + 0.5) / resolution - 0.5] * 3, indexing="ij")

    def block(*bounds: float) -> np.ndarray:
        low, high = np.array(bounds[:3]), np.array(bounds[3:])
        inside = [np.minimum(axis - a, b - axis) for axis, a, b in zip((x, y, z), low, high, strict=True)]
        found: np.ndarray = np.minimum.reduce(inside)
        return found

    legs = [block(a, b, -0.45, a + 0.1, b + 0.1, 0) for a in (-0.3, 0.2) for b in (-0.3, 0.2)]
    parts = [block(-0.3, -0.3, -0.05, 0.3, 0.3, 0.05), block(-0.3, 0.2, -0.05, 0.3, 0.3, 0.45), *legs]
    mesh = from_occupancy_logits(np.maximum.reduce([*parts, block(0.2, -0.3, 0, 0.3, 0.2, 0.2)]))
    blend = (mesh.vertices[:, 1:2] + 0.3) / 0.6
    colors = np.rint(np.array([213, 60, 40]) * (1 - blend) + np.array([40, 70, 213]) * blend).astype(np.uint8)
    mesh = replace(mesh, colors=colors)
    count, rng = len(mesh.vertices), np.random.default_rng(0)
    sh = np.zeros((count, 4, 3), np.float32)
    sh[:, 0] = (colors / 255 - 0.5) / SH_C0
    sh[:, 1:] = rng.uniform(-0.2, 0.2, (count, 3, 3))
    cloud = Gaussians(
        mesh.vertices,
        rng.uniform(0.004, 0.012, (count, 3)).astype(np.float32),
        rng.standard_normal((count, 4)).astype(np.float32),
        rng.uniform(0.5, 0.98, count).astype(np.float32),
        sh,
    )
    return mesh, cloud


def of_bundle(bundle: Path, prompt: str) -> tuple[Mesh, Gaussians]:
    """The mesh and the Gaussians of a bundle's asset."""
    from gen3dexport.runtime import load

    made = load(bundle).generate_assets(prompt, 0)
    return made["mesh"], made["gaussians"]


def covariances(gaussians: Gaussians) -> np.ndarray:
    """[N, 3, 3]: what a reader must get right, whatever signs it gives the axes."""
    axes = rotation_matrices(gaussians.rotations) * gaussians.scales[:, None]
    found: np.ndarray = axes @ axes.transpose(0, 2, 1)
    return found


def off_from(expected: Gaussians, read: dict[str, np.ndarray]) -> Found:
    """Largest differences of Gaussians read in any order: `positions`, `scales`, `rotations` (w, x, y, z), ..."""
    from scipy.spatial import cKDTree

    count = len(expected.positions)
    distance, order = cKDTree(expected.positions).query(read["positions"])
    there = Gaussians(
        *(np.asarray(read[k], np.float32) for k in ("positions", "scales", "rotations", "opacities", "sh"))
    )
    wanted = covariances(expected)[order]
    relative = np.linalg.norm(covariances(there) - wanted, axis=(1, 2)) / np.linalg.norm(wanted, axis=(1, 2))
    return {
        "all there": sorted(order.tolist()) == list(range(count)),
        "position": float(distance.max()),
        "covariance": float(relative.max()),
        "opacity": float(np.abs(there.opacities - expected.opacities[order]).max()),
        "colour": float(SH_C0 * np.abs(there.sh[:, 0] - expected.sh[order, 0]).max()),
        "harmonics": float(np.abs(there.sh[:, 1:] - expected.sh[order, 1:]).max(initial=0)),
    }


def from_columns(columns: Found, activated: bool) -> dict[str, np.ndarray]:
    """Gaussians of columns named as in a .ply; `activated` says that scales and opacities are as they are."""
    rows = {name: np.array(values, np.float64) for name, values in columns.items()}

    def some(*names: str) -> np.ndarray:
        return np.stack([rows[name] for name in names], -1)

    rest = sorted((name for name in rows if name.startswith("f_rest_")), key=lambda name: int(name[7:]))
    sh = some("f_dc_0", "f_dc_1", "f_dc_2")[:, None]
    if rest:
        higher = some(*rest).reshape(len(sh), 3, -1).transpose(0, 2, 1)
        sh = np.concatenate([sh, higher], axis=1)
    scales, opacities = some("scale_0", "scale_1", "scale_2"), rows["opacity"]
    return {
        "positions": some("x", "y", "z"),
        "scales": scales if activated else np.exp(scales),
        "rotations": some("rot_0", "rot_1", "rot_2", "rot_3"),
        "opacities": opacities if activated else 1 / (1 + np.exp(-opacities)),
        "sh": sh,
    }


def of_reference_library(found: Found) -> dict[str, np.ndarray]:
    """Gaussians as the reference library of SPZ gives them."""
    flat = {name: np.array(values, np.float64) for name, values in found.items()}
    count = len(flat["alphas"])
    dc, higher = flat["colors"].reshape(count, 1, 3), flat["sh"].reshape(count, -1, 3)
    return {
        "positions": flat["positions"].reshape(count, 3),
        "scales": np.exp(flat["scales"].reshape(count, 3)),
        "rotations": flat["rotations"].reshape(count, 4)[:, [3, 0, 1, 2]],
        "opacities": 1 / (1 + np.exp(-flat["alphas"])),
        "sh": np.concatenate([dc, higher], axis=1),
    }


def write_samples(mesh: Mesh, cloud: Gaussians, folder: Path) -> None:
    """Every file that is read back."""
    for ending in ENDINGS:
        files.write(mesh, folder / f"mesh{ending}")
    files.write(replace(mesh, colors=None), folder / "bare.glb")
    for ending in (".ply", ".glb", ".spz", ".splat"):
        files.write(cloud, folder / f"gaussians{ending}")


def compare(mesh: Mesh, cloud: Gaussians, folder: Path) -> Found:
    """The findings in `folder/found.json` against what was written."""
    found = json.loads((folder / "found.json").read_text())
    y_up, viewer = cloud.turned(TO_Y_UP), cloud.turned(VIEWER_FRAME)
    result: Found = {name: value for name, value in found.items() if name.startswith("validator")}
    result["SPZ's library, gaussians.spz"] = off_from(y_up, of_reference_library(found["adobe spz"]))
    for name in ("gaussians.spz", "gaussians.ply"):
        read = from_columns(found[f"splat-transform {name}"], activated=False)
        result[f"splat-transform, {name}"] = off_from(viewer, read)  # it turns an .spz into a .ply's frame
    read = from_columns(found["playcanvas gaussians.glb"], activated=True)
    result["PlayCanvas, gaussians.glb"] = off_from(y_up, read)
    linear = linear_light(mesh.colors[:30] / 255) if mesh.colors is not None else None
    points = mesh.vertices @ TO_Y_UP.T
    for name in ("three mesh.glb", "three bare.glb", "three mesh.obj"):
        shown = dict(found[name])
        colors = shown.pop("linear", None)
        shown["box off"] = float(np.abs(np.array(shown.pop("box")) - [points.min(0), points.max(0)]).max())
        if colors is not None and linear is not None and name.endswith(".glb"):
            shown["colour off"] = float(np.abs(np.array(colors) - linear).max())
        result[name] = shown
    for reader, name in (("Babylon.js", "gaussians.glb"), ("Spark", "gaussians.spz")):
        shown = found[f"{reader.lower().removesuffix('.js')} {name}"]
        off = np.abs(np.array(shown["box"]) - [y_up.positions.min(0), y_up.positions.max(0)])
        result[f"{reader}, {name}"] = {"count": shown["count"], "box off": float(off.max())}
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", type=Path)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--prompt", default="a red chair")
    parser.add_argument("--blender", help="a Python that has bpy")
    parser.add_argument("-o", "--out", type=Path, default=Path("outside"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    mesh, cloud = of_bundle(asked.bundle, asked.prompt) if asked.bundle else sample()
    write_samples(mesh, cloud, asked.out)
    subprocess.run(["node", HERE / "check.mjs", asked.modules, asked.out], check=True)
    result = compare(mesh, cloud, asked.out)
    if asked.blender:
        subprocess.run([asked.blender, HERE / "blender_reads.py", asked.out.resolve()], check=True)
        result |= json.loads((asked.out / "blender.json").read_text())
    rows = csv.writer(sys.stdout, delimiter="\t")
    for name, values in result.items():
        shown = (
            f"{k}: {v:.2g}" if isinstance(v, float) and math.isfinite(v) else f"{k}: {v}" for k, v in values.items()
        )
        rows.writerow([name, ", ".join(shown)])
    if not asked.bundle:
        readers = json.loads((HERE / "package.json").read_text())["dependencies"]
        result_file.write(RESULT, __file__, {"readers": readers, "found": result})
    return 0


if __name__ == "__main__":
    sys.exit(main())
