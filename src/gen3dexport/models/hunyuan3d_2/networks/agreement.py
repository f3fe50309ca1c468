"""What Hunyuan3D-2's golden sets say: outputs of networks, of the sampler around one, and of decoded fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from gen3dexport.errors import UsageError
from gen3dexport.models.configuration import fields_of
from gen3dexport.models.flow_sampler import sample
from gen3dexport.models.golden import Arrays, Golden, Run
from gen3dexport.models.hunyuan3d_2.host import volume
from gen3dexport.models.hunyuan3d_2.host.model import SCHEDULERS, Scheduler
from gen3dexport.models.hunyuan3d_2.host.pipeline import BOUND
from gen3dexport.models.hunyuan3d_2.host.settings import network_time
from gen3dexport.models.hunyuan3d_2.host.times import schedule
from gen3dexport.models.hunyuan3d_2.networks.golden_sets import Decoded, read_golden
from gen3dexport.models.hunyuan3d_2.networks.selection import SelectedAttention
from gen3dexport.models.hunyuan3d_2.networks.transformer import Flow
from gen3dexport.models.point_queries import in_chunks
from gen3dexport.networks.point_features import point_features

read = read_golden

NOISE: Mapping[str, float] = {"guidance": 1e-4}
"""Outputs whose reference is not exact, and by how much: its angles, thousands, are rounded to 5e-4."""

_ELLIPSOID = "slope*(1-|(p-centre)/radii|)"
_HOLE = -777  # what sets have where a field was not asked


def outputs(golden: Golden, run: Run) -> tuple[Arrays, Arrays]:
    """Outputs of a golden set by name, found and expected."""
    if golden.component is None:
        return _volumes(golden)
    given = golden.inputs()
    if isinstance(golden.component.module, SelectedAttention):
        return golden.compared(run(given))
    if golden.subject == "sampler":
        return golden.compared(_sampler(golden, given, run))
    return golden.compared((_decoder if isinstance(golden.component.module, Decoded) else _flow)(golden, given, run))


def _volumes(golden: Golden) -> tuple[Arrays, Arrays]:
    """A field decoded each way, how many points each level asked, and the surface; which points are known, by itself.

    Raises:
        UsageError: when the set's field is another than an ellipsoid's.
    """
    said = golden.extra
    resolution, least = said["octree_resolution"], said.get("min_resolution", volume.LEAST)
    level, bound = said.get("mc_level", 0.0), said.get("bounds", BOUND)
    ways = {
        "dense": (resolution,),
        "hierarchical": volume.hierarchical_levels(resolution, least),
        "flash": volume.mini_grid_levels(resolution, least),
    }
    found: Arrays = {}
    field = _field(said["field"])
    for way, levels in ways.items():
        one, grid = volume.decode(field, levels, level, bound), f"{way}.grid"
        found |= {f"{way}.queries": np.asarray(one.asked), grid: one.values[None]}
        found[f"{grid}_shape"] = np.asarray(found[grid].shape)
        if way == "dense" and golden.stored("mc.vertices") is not None:
            found["mc.vertices"], found["mc.faces"] = volume.release_surface(one, level, bound)
    found, expected = golden.compared(found)
    for name in [name for name in expected if name.endswith(".grid")]:
        for values, holes in ((found, np.isnan(found[name])), (expected, expected[name] == _HOLE)):
            values |= {name: np.where(holes, 0, values[name]), f"{name}.known": ~holes}
    return found, expected


def _field(said: Mapping[str, Any]) -> volume.Ask:
    """The set's field, in float32: slope (1 - |(p - centre) / radii|)."""
    if (formula := said["formula"]) != _ELLIPSOID:
        raise UsageError(f"config.json: field.formula: is {formula!r}, and fields of sets are {_ELLIPSOID!r}")
    centre, radii = (torch.tensor(said[name], dtype=torch.float32) for name in ("centre", "radii"))

    def ask(points: np.ndarray) -> np.ndarray:
        far = ((torch.from_numpy(points) - centre) / radii).norm(dim=-1)
        values: np.ndarray = (said["slope"] * (1 - far)).numpy()
        return values

    return ask


def _flow(golden: Golden, given: Arrays, run: Run) -> Arrays:
    """The velocity, and by themselves, eagerly, what the blocks are given."""
    assert golden.component is not None
    flow, inputs = golden.component.module, golden.component.inputs
    assert isinstance(flow, Flow)
    with torch.no_grad():
        steps = {
            "time": flow.time_in(inputs["t"]).numpy(),
            "latent_in": flow.latent_in(inputs["x"]).numpy(),
            "cond_in": flow.cond_in(inputs["cond"]).numpy(),
        }
        if "guidance" in inputs:
            steps["guidance"] = flow.guidance_in(inputs["guidance"]).numpy()
    return run(given) | steps


def _decoder(golden: Golden, given: Arrays, run: Run) -> Arrays:
    """The latents' rows, logits of all points (a chunk a call), and eagerly the points' features."""
    assert golden.component is not None
    whole, points = golden.component.module, golden.tensors["in.queries"]
    assert isinstance(whole, Decoded)
    with torch.no_grad():
        features = point_features(points, whole.query.get_buffer("frequencies"))
        steps = {"fourier": features.numpy(), "query_proj": whole.query.query_proj(features).numpy()}
    return steps | in_chunks(run, given, points.numpy(), "logits")


def _sampler(golden: Golden, given: Arrays, run: Run) -> Arrays:
    """The latents after every step, and the times. The set's last step of even ones, of width 0, is not made."""
    extra = golden.extra
    arguments = extra["scheduler"].get("args", {})
    scheduler = Scheduler(kind=SCHEDULERS[extra["scheduler"]["name"]], **fields_of(Scheduler, arguments))
    steps, states = schedule(scheduler, extra["steps"], extra["guidance_scale"], "guidance" in given), []

    def velocity(x: np.ndarray, t: float, conditional: bool) -> np.ndarray:
        cond = given["cond"] if conditional else np.zeros_like(given["cond"])
        times = np.full(len(x), network_time(t), np.float32)
        return run(given | {"x": x.astype(np.float32), "t": times, "cond": cond})["v"]

    sample(velocity, given["x"], steps, lambda step, x, clean: states.append(x))
    sigmas = [1 - t for t in steps.times]
    while len(states) < extra["steps"]:
        states.append(states[-1])
        sigmas.append(1.0)
    found = {f"x{i}": state for i, state in enumerate(states)}
    return found | {"sigmas": np.asarray(sigmas), "timesteps": 1000 * np.asarray(sigmas[:-1])}
