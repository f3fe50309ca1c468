"""What LGM's golden sets say: rows and steps of the networks, cameras with their rays, and files of Gaussians."""

from __future__ import annotations

from collections.abc import Mapping

from gen3dexport.models.golden import Arrays, Golden, Run
from gen3dexport.models.lgm.host import cameras, gaussians
from gen3dexport.models.lgm.networks.golden_sets import read_golden

read = read_golden

_STEPS = ("unet", "conv", "mid_block", *(f"{way}{block}" for way in ("down", "up") for block in range(12)))
NOISE: Mapping[str, float] = {"gaussians": 1e-4, **dict.fromkeys(_STEPS, 5e-5)}
"""Outputs whose reference is not exact, and by how much: group norms of few cells, and rotations made of short vectors,
enlarge float32's rounding. The same network in float64 is up to 2.9e-5 and 6.8e-6 from the golden sets."""

_NEAR, _FAR = 0.5, 2.5  # where a set of cameras does not say it


def outputs(golden: Golden, run: Run) -> tuple[Arrays, Arrays]:
    """Outputs of a golden set by name, found and expected."""
    if golden.component is not None:
        found = run(golden.inputs())
    else:
        found = _cameras(golden) if "in.azimuths" in golden.tensors else _files(golden)
    return golden.compared(found)


def _cameras(golden: Golden) -> Arrays:
    """Cameras on an orbit: poses, rays of their pixels, and the rasteriser's matrices."""
    given = golden.extra
    azimuths = golden.tensors["in.azimuths"].numpy().tolist()
    poses = cameras.orbit(given["elevation"], azimuths, given["cam_radius"])
    view = cameras.views(poses)
    seen = cameras.projection(given["fovy"], given.get("znear", _NEAR), given.get("zfar", _FAR))
    return {
        "poses": poses,
        "rays": cameras.rays(poses, given["input_size"], given["fovy"]),
        "view": view,
        "proj": seen,
        "view_proj": view @ seen,
        "cam_pos": -poses[:, :3, 3],
    }


def _files(golden: Golden) -> Arrays:
    """Columns of a file of Gaussians, and what is read back."""
    columns = gaussians.columns(golden.tensors["in.gaussians"].numpy().reshape(-1, 14))
    return {"columns": columns, "loaded": gaussians.from_columns(columns)}
