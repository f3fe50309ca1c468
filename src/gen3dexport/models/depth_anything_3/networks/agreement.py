"""What Depth Anything 3's golden sets say: maps, rays, poses and steps of the networks, and the host's work."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from gen3dexport.models.depth_anything_3.host.cameras import matrices
from gen3dexport.models.depth_anything_3.host.picture import Bound, Ending, normalised, published
from gen3dexport.models.depth_anything_3.host.settings import Reference
from gen3dexport.models.depth_anything_3.host.sky import nested, with_sky
from gen3dexport.models.depth_anything_3.networks.golden_sets import POSE, read_golden
from gen3dexport.models.depth_anything_3.networks.reference import chosen, spans, to_front
from gen3dexport.models.golden import Arrays, Golden, Run, tagged

read = read_golden

_BOUNDS: tuple[Bound, ...] = ("upper", "lower")
_ENDINGS: tuple[Ending, ...] = ("resize", "crop")
_CHOICES: tuple[Reference, ...] = ("first", "middle", "saddle_balanced", "saddle_sim_range")
_SPANS = _CHOICES[-1]
_EQUAL = 1e-6  # difference of cosines that is rounding


def outputs(golden: Golden, run: Run) -> tuple[Arrays, Arrays]:
    """Outputs of a golden set by name, found and expected."""
    found = _hosts(golden) if golden.component is None else _network(golden, run)
    return golden.compared(found)


def _network(golden: Golden, run: Run) -> Arrays:
    """Maps and steps by the network, and what the host makes of them."""
    assert golden.component is not None
    made = run(golden.inputs())
    found: Arrays = {}
    for tag, picture in tagged(golden.tensors, "image").items():
        own = {name.removeprefix(f"{tag}_"): value for name, value in made.items() if name.startswith(f"{tag}_")}
        size = picture.shape[-2:]
        if POSE in own:
            own["extrinsics"], own["intrinsics"] = matrices(own[POSE], (size[0], size[1]))
        if "depth" in own and "sky" in own:
            pairs = zip(own["depth"].reshape(-1, *size), own["sky"].reshape(-1, *size), strict=True)
            own["depth_final"] = np.stack([with_sky(*pair) for pair in pairs]).reshape(own["depth"].shape)
        found |= {f"{tag}.{name}": value for name, value in own.items()}
    return found


def _hosts(golden: Golden) -> Arrays:
    """The work of a set without a network: prepared pictures, the choice of a view, or two models as one."""
    if "process_res" in golden.extra:
        return _prepared(golden)
    if "in.tokens" in golden.tensors:
        tokens = golden.tensors["in.tokens"]
        views = {by: chosen(tokens[:, :, 0], by) for by in _CHOICES}
        moved = to_front(tokens, views["saddle_balanced"])
        found = {by: view.numpy().astype(np.int64) for by, view in views.items()} | {"reordered": moved.numpy()}
        stored = golden.stored(_SPANS)
        return found if stored is None else found | {_SPANS: _of_equals(tokens[:, :, 0], found[_SPANS], stored)}
    names = ("depth", "depth_conf", "extrinsics", "intrinsics", "metric_depth", "sky")
    depth, confidence, extrinsics, intrinsics, metric, sky = (golden.tensors[f"in.{n}"].numpy() for n in names)
    made = nested(depth, confidence, extrinsics, intrinsics, metric, sky)
    return {
        "metric_depth_scaled": made.metric,
        "depth_aligned": made.aligned,
        "depth": made.depth,
        "depth_conf": made.confidence,
        "extrinsics": made.extrinsics,
        "scale_factor": np.array(made.scale, np.float32),
    }


def _of_equals(tokens: Tensor, found: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """The stored choices [B] where they are as good as those found: between equals the reference's rounding chooses."""
    directions = tokens.double() / tokens.double().norm(dim=-1, keepdim=True)
    every = spans(directions @ directions.mT).numpy()
    own, other = (np.take_along_axis(every, view[:, None], 1)[:, 0] for view in (found, stored))
    return np.where(own - other < _EQUAL, stored, found)


def _prepared(golden: Golden) -> Arrays:
    """Every picture of a set in its four published sizes, with its camera where it has one."""
    resolution, patch = golden.extra["process_res"], golden.extra["multiple"]
    pictures = tagged(golden.tensors, "image_u8")
    if not pictures:
        raise KeyError("in.TAG.image_u8")
    found: Arrays = {}
    for tag, picture in pictures.items():
        colors = picture.numpy()
        camera = golden.tensors.get(f"in.{tag}.intrinsics")
        for bound in _BOUNDS:
            for ending in _ENDINGS:
                own = None if camera is None else camera.numpy()
                made, moved = published(colors, resolution, bound, ending, own, patch)
                name = f"{tag}.{bound}_bound_{ending}"
                found[name] = np.ascontiguousarray(normalised(made).transpose(2, 0, 1)[None])
                if moved is not None:
                    found[f"{name}.intrinsics"] = moved[None]
    return found
