"""Parity: a family's component against golden data of the reference implementation, eager or through a target."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gen3dexport import backends, models
from gen3dexport.backends import ProgramRecord, TensorSpec
from gen3dexport.errors import MissingError, UsageError
from gen3dexport.export import Captured
from gen3dexport.metrics import tensor_error
from gen3dexport.models.component import Component
from gen3dexport.models.golden import Golden, read_golden
from gen3dexport.models.trellis.sampler import Schedule, sample
from gen3dexport.runtime.pipeline import to_numpy
from gen3dexport.target import Target, read_target

Arrays = dict[str, np.ndarray]
Run = Callable[[Mapping[str, np.ndarray]], Arrays]

# Allowed error relative to the output's largest value.
NETWORK, SAMPLER, LOWERED, QUANTIZED = 1e-5, 1e-4, 1e-3, 1e-1


def compare(family: str, folder: Path, target: str | None, scheme: str, tolerance: float | None) -> dict[str, Any]:
    """Outputs against the golden ones: max abs, relative to the output's scale, and relative L2.

    Raises:
        UsageError: for an unknown family, a damaged folder, or a target that cannot run here.
    """
    if family not in models.names():
        models.pipeline(family)  # raises with the known names
    golden = read_golden(folder)
    resolved = read_target(target) if target else None
    with tempfile.TemporaryDirectory(prefix="gen3dexport-") as scratch:
        run = (
            _eager(golden.component)
            if resolved is None
            else _lowered(golden.component, resolved, scheme, Path(scratch))
        )
        found, expected = _sampler(golden, run) if golden.kind == "sampler" else _network(golden, run)
    if tolerance is None:
        tolerance = SAMPLER if golden.kind == "sampler" else NETWORK
        if resolved is not None:
            tolerance = QUANTIZED if scheme != "fp32" else LOWERED
    rows = [_row(name, found[name], value) for name, value in expected.items()]
    return {
        "family": family,
        "golden": str(folder),
        "target": resolved.name if resolved else "eager",
        "scheme": scheme,
        "tolerance": tolerance,
        "outputs": rows,
        "passed": bool(rows) and all(row["relative"] <= tolerance for row in rows),
    }


def _row(name: str, value: np.ndarray, expected: np.ndarray) -> dict[str, Any]:
    if value.shape != expected.shape:
        return {"output": name, "max_abs": float("inf"), "relative": float("inf"), "relative_l2": float("inf")}
    error = tensor_error(value, expected)
    scale = float(np.abs(expected).max()) or 1.0
    return {
        "output": name,
        "max_abs": error.max_abs,
        "relative": error.max_abs / scale,
        "relative_l2": error.relative_l2,
    }


def _network(golden: Golden, run: Run) -> tuple[Arrays, Arrays]:
    outputs = run(_numpy(golden.component.inputs))
    expected = _numpy(golden.expected())
    stored = {k.removeprefix("out."): v.numpy() for k, v in golden.tensors.items() if k.startswith("out.")}
    if "coords" in stored:  # what the host makes of the logits
        outputs["coords"] = np.argwhere(outputs["logits"][:, 0] > 0).astype(np.int32)
        expected["coords"] = stored["coords"]
    if "z" in stored and "mean" in outputs:  # the encoder's deterministic latent is its mean
        outputs["z"], expected["z"] = outputs["mean"], stored["z"]
    return outputs, expected


def _sampler(golden: Golden, run: Run) -> tuple[Arrays, Arrays]:
    extra, stored = golden.extra, {k: v.numpy() for k, v in golden.tensors.items()}
    schedule = Schedule(
        steps=extra["steps"],
        guidance_scale=extra["cfg_strength"],
        guidance_interval=tuple(extra["cfg_interval"]),
        rescale_t=extra["rescale_t"],
        sigma_min=extra["sigma_min"],
    )
    calls, states, cleans = [], [], []

    def velocity(x: np.ndarray, t: float, conditional: bool) -> np.ndarray:
        calls.append((t, float(conditional)))
        cond = stored["in.cond" if conditional else "in.neg_cond"]
        return run({"x": x.astype(np.float32), "t": np.asarray([t], np.float32), "cond": cond})["v"]

    def keep(step: int, x: np.ndarray, clean: np.ndarray) -> None:
        states.append(x)
        cleans.append(clean)

    samples = sample(velocity, stored["in.noise"], schedule, keep)
    found = {"samples": samples, "x_t": np.stack(states), "x_0": np.stack(cleans)}
    found |= {"calls": np.asarray(calls), "t_seq": np.asarray(schedule.times)}
    expected = {name: stored[f"out.{name}" if name == "samples" else f"mid.{name}"] for name in found}
    return found, expected


def _numpy(tensors: Mapping[str, Tensor]) -> Arrays:
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}


def _eager(component: Component) -> Run:
    def run(inputs: Mapping[str, np.ndarray]) -> Arrays:
        return _numpy(component.run({name: torch.from_numpy(value) for name, value in inputs.items()}))

    return run


def _lowered(component: Component, target: Target, scheme: str, folder: Path) -> Run:
    """The component lowered for `target`, written to `folder` and loaded from there."""
    backend, options = backends.find(target.backend), target.backend_options()
    missing = backend.check(options)
    if missing:
        raise MissingError(f"target {target.name}: not ready here:\n  " + "\n  ".join(missing))
    if scheme not in backend.SCHEMES:
        raise UsageError(f"target {target.name}: scheme {scheme!r}: {backend.REFUSED.get(scheme, 'unknown')}")
    component = component if scheme == "fp32" else backend.quantize(component, scheme, options)
    outputs = component.run()
    lowered = backend.lower(Captured(component), options, folder)
    record = ProgramRecord(
        name=component.name,
        component=component.name,
        files=lowered.files,
        inputs={k: _spec(v) for k, v in component.inputs.items()},
        outputs={k: _spec(v) for k, v in outputs.items()},
        scheme=scheme,
        facts=dict(lowered.facts),
    )
    program = backend.load(folder, record)

    def run(inputs: Mapping[str, np.ndarray]) -> Arrays:
        return to_numpy(program({k: program.xp.asarray(v) for k, v in inputs.items()}))

    return run


def _spec(tensor: Tensor) -> TensorSpec:
    return TensorSpec(shape=tuple(tensor.shape), dtype=str(tensor.dtype).removeprefix("torch."))
