"""What MoGe-2's golden sets say: maps, scale and steps of the network, and the host's way to metric depth."""

from __future__ import annotations

import numpy as np

from gen3dexport.models.golden import Arrays, Golden, Run, tagged
from gen3dexport.models.moge_2.host.focal_shift import focal_of, recovered
from gen3dexport.models.moge_2.host.geometry import Geometry, activated, intrinsics, placed
from gen3dexport.models.moge_2.networks.golden_sets import MODES, read_golden

read = read_golden

_RAW = {"points": "points_head", "normal": "normal_head", "mask": "mask_head"}
_FOV = 60.0  # degrees of the outputs `infer_fov60`


def outputs(golden: Golden, run: Run) -> tuple[Arrays, Arrays]:
    """Outputs of a golden set by name, found and expected."""
    made = _recovery(golden) if golden.component is None else _network(golden, run)
    return golden.compared(made)


def _network(golden: Golden, run: Run) -> Arrays:
    """Steps, raw maps, maps in the picture's size, the scale, and what the host makes of them."""
    assert golden.component is not None
    given = golden.inputs()
    made = run(given)
    found: Arrays = {}
    for size, picture in tagged(golden.tensors, "image").items():
        height, width = picture.shape[-2:]
        for mode in MODES:
            start, place = f"{size}_{mode}_", f"{size}.{mode}"
            own = {name.removeprefix(start): value for name, value in made.items() if name.startswith(start)}
            if "metric_scale" in own:
                own["metric_scale"] = own["metric_scale"][:, 0]
            found |= {f"{place}.{_RAW.get(name, name)}": value for name, value in own.items() if name not in _RAW}
            found |= {f"{place}.{head}": own[name] for name, head in _RAW.items() if name in own}
            found[f"{place}.image_14"] = given[f"{start}image"]
            batch = range(len(own["mask"]))
            every = [activated({n: own[n][b] for n in _RAW if n in own}, height, width) for b in batch]
            found |= {f"{place}.{name}": np.stack([one[name] for one in every]) for name in every[0]}
            found |= _normals(golden, place, height, width)
            if mode == "torch":
                found |= _inferred(golden, size, every, own.get("metric_scale", np.ones(len(every), np.float32)))
    return found


def _normals(golden: Golden, place: str, height: int, width: int) -> Arrays:
    """The host's normals of the reference's own raw map, where the set has it: near vectors of no length the direction
    magnifies what is the last digit of the map, which is compared for itself."""
    raw = golden.stored(f"{place}.normal_head")
    if raw is None:
        return {}
    found = [activated({"normal": one}, height, width)["normal"] for one in raw]
    return {f"{place}.normal": np.stack(found)}


def _inferred(golden: Golden, size: str, maps: list[dict[str, np.ndarray]], scales: np.ndarray) -> Arrays:
    """The host's steps. The reference's solver stops early, so what comes after it is compared with its results put in;
    the solver itself with the exact ones."""
    height, width = maps[0]["mask"].shape
    found: Arrays = {}
    exact = [recovered(one["points"], one["mask"] > 0.5) for one in maps]
    found[f"{size}.infer.focal_exact"] = np.array([f for f, _ in exact], np.float32)
    found[f"{size}.infer.shift_exact"] = np.array([s for _, s in exact], np.float32)
    focal, shift = (golden.stored(f"{size}.infer.{name}") for name in ("focal", "shift"))
    if focal is not None and shift is not None:
        numbers = list(zip(maps, focal, shift, scales, strict=True))
        for place, project in (("infer", True), ("infer_noproj", False)):
            made = [placed(one, float(f), float(s), float(c), project) for one, f, s, c in numbers]
            found |= _named(f"{size}.{place}", made)
    camera = intrinsics(focal_of(_FOV, width, height), width, height)
    found[f"{size}.infer_fov60.intrinsics"] = np.stack([camera.astype(np.float32)] * len(maps))
    return found


def _named(place: str, made: list[Geometry]) -> Arrays:
    return {
        f"{place}.points": np.stack([one.points for one in made]),
        f"{place}.depth": np.stack([one.depth for one in made]),
        f"{place}.intrinsics": np.stack([one.intrinsics for one in made]),
        f"{place}.mask": np.stack([one.mask.astype(np.uint8) for one in made]),
    }


def _recovery(golden: Golden) -> Arrays:
    """Focal lengths and shifts, free and with a known focal length; points and depth with the reference's numbers."""
    found: Arrays = {}
    every = tagged(golden.tensors, "points")
    if not every:
        raise KeyError("in.SIZE.points")
    for size, stored in every.items():
        points = stored.numpy()
        mask = golden.tensors.get(f"in.{size}.mask")
        masks = np.ones(points.shape[:3], bool) if mask is None else mask.numpy() > 0
        free = [recovered(p, m) for p, m in zip(points, masks, strict=True)]
        found[f"{size}.focal_exact"] = np.array([f for f, _ in free], np.float32)
        found[f"{size}.shift_exact"] = np.array([s for _, s in free], np.float32)
        known = golden.tensors.get(f"in.{size}.known_focal")
        if known is not None:
            pairs = zip(points, masks, known.tolist(), strict=True)
            found[f"{size}.shift_known_focal_exact"] = np.array([recovered(*p)[1] for p in pairs], np.float32)
        focal, shift = (golden.stored(f"{size}.{name}") for name in ("focal", "shift"))
        if focal is not None and shift is not None:
            maps = [{"points": p, "mask": m.astype(np.float32)} for p, m in zip(points, masks, strict=True)]
            made = [placed(m, float(f), float(s), 1.0) for m, f, s in zip(maps, focal, shift, strict=True)]
            found |= _named(size, made)
    return found
