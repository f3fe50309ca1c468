"""`gen3dexport run`: one asset from a bundle into a file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from gen3dexport import assets
from gen3dexport.errors import UsageError
from gen3dexport.models import Request
from gen3dexport.runtime import load


def generate(bundle: Path, prompt: str, seed: int, features: Path | None, out: Path, picture: bool) -> dict[str, Any]:
    """Make an asset and write it, with a turntable PNG beside it if asked.

    Raises:
        UsageError: for a bad prompt, features or output, before any network runs where it can be told.
        AccuracyError: when nothing came out.
        VerificationError: when the bundle was changed.
    """
    assets.check_output(out)
    array = _read_features(features) if features else None
    loaded = load(bundle)
    if loaded.manifest.random_weights:
        raise UsageError(f"{bundle}: was built with random weights, for sizing; its assets would mean nothing")
    start = time.perf_counter()
    loaded.load_programs()
    load_seconds, start = time.perf_counter() - start, time.perf_counter()
    mesh = loaded.pipeline.make_asset(loaded.run(Request(prompt, seed, array)))
    seconds = time.perf_counter() - start
    assets.write(mesh, out)
    result = {"asset": str(out), "prompt": prompt, "seed": seed, "picture": None}
    result |= {"seconds": seconds, "load_seconds": load_seconds}
    if picture:
        from gen3dexport import render

        path = out.with_suffix(".png")
        render.save_png(render.turntable(mesh), path)
        result["picture"] = str(path)
    return result | {"vertices": len(mesh.vertices), "faces": len(mesh.faces)}


def _read_features(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a readable .npy file ({error})") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        raise UsageError(f"{path}: needs one array of floating-point features [L, C]")
    return array
