"""What TRELLIS's golden sets say: outputs of a network and of the host's work after it, found and expected."""

from __future__ import annotations

import numpy as np
from torch import nn

from gen3dexport.models.flow_sampler import Schedule, sample
from gen3dexport.models.golden import Arrays, Golden, Run
from gen3dexport.models.trellis.host.voxel_tables import Coords, padded, subdivided
from gen3dexport.models.trellis.networks.golden_sets import read_golden as read
from gen3dexport.models.trellis.networks.host_agreement import (
    first_seen,
    flexicubes,
    gaussian_attributes,
    ops,
    radiance,
    surface_by_position,
)
from gen3dexport.models.trellis.networks.mesh_decoder import SLatMeshDecoder
from gen3dexport.models.trellis.networks.slat_decoders import SLatGaussianDecoder, SLatRadianceFieldDecoder
from gen3dexport.models.trellis.networks.slat_flow import SLatFlow
from gen3dexport.models.trellis.networks.slat_golden import OUTPUTS, coords_of

__all__ = ["NOISE", "outputs", "read"]


NOISE = {"ply_default_rotation": 3e-4}
"""Outputs whose reference is not exact, and by how much: its rotations pass through a root with cancellation."""


def outputs(golden: Golden, run: Run) -> tuple[Arrays, Arrays]:
    """Outputs of a golden set by name, found and expected."""
    stored = {name: tensor.numpy() for name, tensor in golden.tensors.items()}
    if golden.component is None:
        return _both(stored, ops(stored) if golden.subject == "ops" else flexicubes(stored, golden.extra["res"]))
    if golden.subject == "sampler":
        return _both(stored, _sampler(golden, stored, run))
    results = run(golden.inputs())
    if "in.coords" in stored:
        results = _decoded(golden.component.module, results, coords_of(golden.tensors), golden.subject)
    elif "out.coords" in stored:  # what the host makes of the logits
        results["coords"] = np.argwhere(results["logits"][:, 0] > 0).astype(np.int32)
    if "mean" in results:  # the encoders' deterministic latent is their mean
        results["z"] = results["mean"]
    results = {name: value for name, value in results.items() if f"out.{name}" in stored}
    for name in results:
        if f"rows.{name}" in stored:  # the set was cut to these
            results[name] = results[name][stored[f"rows.{name}"]]
    found, expected = _both(stored, results)
    for values in (found, expected):
        if "ply_default_transform" in values:  # its last four columns are a row of their own: see NOISE
            rows = values["ply_default_transform"]
            values |= {"ply_default_transform": rows[:, :-4], "ply_default_rotation": rows[:, -4:]}
    return found, expected


def _both(stored: Arrays, made: Arrays) -> tuple[Arrays, Arrays]:
    """What was made and what the set says, of the names that it has."""
    if "out.faces" in stored:
        stored = stored | {f"out.{name}": value for name, value in surface_by_position(stored).items()}
    said = {name: stored.get(f"out.{name}", stored.get(f"mid.{name}")) for name in made}
    expected = {k: first_seen(v) if k.startswith("window_id") else v for k, v in said.items() if v is not None}
    return {name: made[name] for name in expected}, expected


def _decoded(module: nn.Module, results: Arrays, coords: Coords, kind: str) -> Arrays:
    """Real rows of the results, and what the host makes of them."""
    rows = 64 * len(coords) if isinstance(module, SLatMeshDecoder) else len(coords)
    results = {name: value[0, :rows] for name, value in results.items()}
    if isinstance(module, SLatGaussianDecoder):
        perturbed = module.get_buffer("offset_perturbation").numpy()
        arguments = (results["feats"], coords, perturbed, module.representation, module.resolution)
        return results | gaussian_attributes(*arguments, activated=kind == "gaussians")
    if isinstance(module, SLatRadianceFieldDecoder):
        return results | radiance(results["feats"], coords, module.factors, module.resolution)
    if isinstance(module, SLatMeshDecoder):
        fine = subdivided(subdivided(coords))
        return results | {"coords": np.pad(fine, ((0, 0), (1, 0)))}
    return results


def _sampler(golden: Golden, stored: Arrays, run: Run) -> Arrays:
    """Every state of a sampler's run, the calls it made, and the de-normalised latent where the set has one."""
    assert golden.component is not None
    extra, inputs = golden.extra, golden.inputs()
    schedule = Schedule(
        steps=extra["steps"],
        guidance_scale=extra["cfg_strength"],
        guidance_interval=tuple(extra["cfg_interval"]),
        rescale_t=extra["rescale_t"],
        sigma_min=extra["sigma_min"],
    )
    calls, states, cleans = [], [], []
    noise, sparse = stored["in.noise"], isinstance(golden.component.module, SLatFlow)
    (output,) = OUTPUTS["SLatFlowModel"]

    def velocity(x: np.ndarray, t: float, conditional: bool) -> np.ndarray:
        calls.append((t, float(conditional)))
        cond = stored["in.cond" if conditional else "in.neg_cond"]
        latent = padded(x, inputs["x"].shape[1]) if sparse else x.astype(np.float32)
        v = run({**inputs, "x": latent, "t": np.asarray([t], np.float32), "cond": cond})[output]
        return v[0, : len(x)] if sparse else v

    def keep(step: int, x: np.ndarray, clean: np.ndarray) -> None:
        states.append(x)
        cleans.append(clean)

    samples = sample(velocity, noise, schedule, keep)
    found = {"samples": samples, "x_t": np.stack(states), "x_0": np.stack(cleans)}
    found |= {"calls": np.asarray(calls), "t_seq": np.asarray(schedule.times)}
    if "in.mean" in stored:
        found["denormalised"] = samples * stored["in.std"] + stored["in.mean"]
    return found
