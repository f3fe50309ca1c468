"""`gen3dexport run`: one asset from a bundle into a file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from gen3dexport import assets
from gen3dexport.errors import UsageError
from gen3dexport.gaussians import write_ply
from gen3dexport.runtime import load
from gen3dexport.runtime.pipeline import LoadedBundle


def generate(bundle: Path, prompt: str, seed: int, features: Path | None, out: Path, picture: bool) -> dict[str, Any]:
    """Make an asset and write it, with a turntable PNG beside it if asked.

    Raises:
        UsageError: for a bad prompt, features or output, before any network runs where it can be told.
        AccuracyError: when nothing came out.
        VerificationError: when the bundle was changed.
    """
    assets.check_output(out)  # before the bundle, which may be large, is read
    array = _read_features(features) if features else None
    loaded = load(bundle)
    if loaded.manifest.random_weights:
        raise UsageError(f"{bundle}: was built with random weights, for sizing; its assets would mean nothing")
    kind = _kind(loaded, out, picture)
    start = time.perf_counter()
    loaded.load_programs()
    load_seconds, start = time.perf_counter() - start, time.perf_counter()
    made = loaded.generate_assets(prompt, seed, array)
    seconds = time.perf_counter() - start
    if kind == "gaussians":
        write_ply(made[kind], out)
    else:
        assets.write(made[kind], out)
    result = {"asset": str(out), "prompt": prompt, "seed": seed, "picture": None}
    result |= {"seconds": seconds, "load_seconds": load_seconds}
    if picture:
        from gen3dexport import render

        path = out.with_suffix(".png")
        render.save_png(render.turntable(made["mesh"]), path)
        result["picture"] = str(path)
    if kind == "gaussians":
        return result | {"gaussians": len(made[kind].positions)}
    return result | {"vertices": len(made[kind].vertices), "faces": len(made[kind].faces)}


def _kind(loaded: LoadedBundle, out: Path, picture: bool) -> str:
    """What goes into the file: Gaussians into a .ply where the bundle makes some, else the mesh."""
    kinds = loaded.pipeline.asset_kinds(loaded.settings)
    if picture and "mesh" not in kinds:
        raise UsageError(f"{loaded.folder}: makes no mesh, so there is no turntable of one; leave --render out")
    if "gaussians" in kinds and out.suffix.lower() == ".ply":
        return "gaussians"
    if "mesh" not in kinds:
        remedy = "name a .ply" if "gaussians" in kinds else "use gen3dexport.runtime's generate_assets"
        raise UsageError(f"{out}: this bundle makes {', '.join(kinds)}, no mesh; {remedy}")
    return "mesh"


def _read_features(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a readable .npy file ({error})") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        raise UsageError(f"{path}: needs one array of floating-point features [L, C] or [2, L, C]")
    return array
