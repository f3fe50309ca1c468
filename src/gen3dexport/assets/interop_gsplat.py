"""3D Gaussians to and from the parameters that gsplat and nerfstudio's splatfacto train.

Both keep logarithms of scales, logits of opacities, quaternions (w, x, y, z) of any length, and the harmonics of
Kerbl et al. 2023. gsplat: means, scales, quats, opacities [N], sh0 [N, 1, 3], shN [N, K, 3]. Splatfacto: features_dc
[N, 3], features_rest [N, K, 3] and opacities [N, 1] in the place of the last three.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gen3dexport.arrays import on_host
from gen3dexport.assets.gaussians import Gaussians
from gen3dexport.assets.harmonics import degree_of
from gen3dexport.assets.interop import Up, rows, to_z_up, wrong
from gen3dexport.errors import UsageError

_MOST = 20.0
"""Logits and logarithms stay within, so that opacities of 0 and 1 and scales of 0 are finite numbers."""
_PREFIXES = ("_model.gauss_params.", "gauss_params.", "splats.")
_COMMON = ("means", "scales", "quats", "opacities")


def from_gsplat(parameters: Mapping[str, Any], up: Up = "z") -> Gaussians:
    """Gaussians of the parameters of gsplat or of splatfacto; names may begin as a checkpoint's do
    (`_model.gauss_params.means`).

    Args:
        up: nerfstudio's scenes are z up; those of COLMAP's cameras as they are, y down.

    Raises:
        UsageError: for parameters of another layout, or that are not finite.
    """
    found = _named(parameters)
    means, scales, quats = rows(found["means"], 3), rows(found["scales"], 3), rows(found["quats"], 4)
    count = len(means)
    logits = _array(found["opacities"]).reshape(-1)
    if "sh0" in found:
        first, rest = _array(found["sh0"]).reshape(-1, 1, 3), _array(found["shN"]) if "shN" in found else None
    else:
        first = _array(found["features_dc"]).reshape(-1, 1, 3)
        rest = _array(found["features_rest"]) if "features_rest" in found else None
    sh = first if rest is None or not rest.size else np.concatenate([first, rest], axis=1)
    sizes = {"scales": len(scales), "quats": len(quats), "opacities": len(logits), "colours": len(sh)}
    if other := {name: size for name, size in sizes.items() if size != count}:
        raise UsageError(f"from_gsplat: {count} means, but {other}")
    for name, values in {"means": means, "scales": scales, "quats": quats, "opacities": logits, "colours": sh}.items():
        if not np.isfinite(values).all():
            raise UsageError(f"from_gsplat: {name} hold NaN or infinity")
    try:
        degree_of(sh.shape[1])
    except ValueError as error:
        raise UsageError(f"from_gsplat: {error}") from None
    opacities = 0.5 + 0.5 * np.tanh(logits.astype(np.float64) / 2)
    made = Gaussians(means, np.exp(scales), quats, opacities.astype(np.float32), sh.astype(np.float32))
    return made if up == "z" else made.turned(to_z_up(up))


def to_gsplat(
    gaussians: Gaussians, up: Up = "z", layout: Literal["gsplat", "splatfacto"] = "gsplat"
) -> dict[str, NDArray[np.float32]]:
    """The parameters by name, as NumPy arrays (`torch.from_numpy` takes them).

    Scales of 0 and opacities of 0 and 1 become the smallest and largest finite ones, 2e-9 off.

    Raises:
        UsageError: for an asset of another kind, or another layout.
    """
    if not isinstance(gaussians, Gaussians):
        raise wrong(gaussians, "to_gsplat", "Gaussians")
    if layout not in ("gsplat", "splatfacto"):
        raise UsageError(f"layout={layout!r}: there are gsplat, splatfacto")
    made = gaussians if up == "z" else gaussians.turned(to_z_up(up).T)
    opacities = made.opacities.astype(np.float64)
    with np.errstate(divide="ignore"):
        logits = np.clip(np.log(opacities) - np.log1p(-opacities), -_MOST, _MOST).astype(np.float32)
        scales = np.maximum(np.log(made.scales.astype(np.float64)), -_MOST).astype(np.float32)
    common = {"means": made.positions, "scales": scales, "quats": made.rotations}
    if layout == "gsplat":
        own = {"opacities": logits, "sh0": made.sh[:, :1], "shN": made.sh[:, 1:]}
    else:
        own = {"opacities": logits[:, None], "features_dc": made.sh[:, 0], "features_rest": made.sh[:, 1:]}
    return {name: np.ascontiguousarray(values, np.float32) for name, values in (common | own).items()}


def _named(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters by their short names.

    Raises:
        UsageError: when one is missing.
    """
    if not isinstance(parameters, Mapping) and not hasattr(parameters, "items"):
        raise wrong(parameters, "from_gsplat", "a mapping of parameters by name, e.g. a ParameterDict")
    found = dict(parameters.items())
    for prefix in _PREFIXES:
        if f"{prefix}means" in found:
            found = {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}
    missing = [name for name in _COMMON if name not in found]
    if "sh0" not in found and "features_dc" not in found:
        missing.append("sh0 (gsplat) or features_dc (splatfacto)")
    if missing:
        raise UsageError(f"from_gsplat: no {', '.join(missing)}; there are {', '.join(sorted(map(str, found))[:12])}")
    return found


def _array(values: Any) -> NDArray[np.float32]:
    return np.asarray(on_host(values.detach() if hasattr(values, "detach") else values), np.float32)
