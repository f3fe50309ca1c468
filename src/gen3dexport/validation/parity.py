"""Parity: a family's component against golden data of the reference implementation, eager or through a target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gen3dexport import models
from gen3dexport.disk import scratch
from gen3dexport.documents.target import Target
from gen3dexport.errors import UsageError
from gen3dexport.models.component import Component
from gen3dexport.models.golden import Arrays, Run
from gen3dexport.plan import read_target
from gen3dexport.runtime.pipeline import to_numpy
from gen3dexport.tensor_error import tensor_error
from gen3dexport.validation.golden_family import golden_family
from gen3dexport.validation.one_component import through

# Allowed error relative to the output's largest value.
NETWORK, SAMPLER, LOWERED, QUANTIZED = 1e-5, 1e-4, 1e-3, 1e-1


def compare(family: str, folder: Path, target: str | None, scheme: str, tolerance: float | None) -> dict[str, Any]:
    """Outputs against the golden ones: max abs, relative to the output's scale, with what is allowed, and relative L2.

    Args:
        family: a family, or a folder of golden data that several share, see `golden_family`.

    Raises:
        UsageError: for an unknown family, a damaged folder, one whose files do not fit each other, or a target that
            cannot run here.
    """
    family = golden_family(family, folder)
    agreement = models.find(family).agreement()
    with _told(family, folder):
        golden = agreement.read(folder)
    resolved = read_target(target) if target else None
    run: Run
    with scratch() as place:
        if golden.component is None:
            if resolved is not None:
                raise UsageError(f"{folder}: this set has no network, only the host's work; leave --target out")
            run = _nothing
        elif resolved is None:
            run = _eager(golden.component)
        else:
            run = _lowered(golden.component, resolved, scheme, place)
        with _told(family, folder):
            found, expected = agreement.outputs(golden, run)
    _check(folder, found, expected)
    if tolerance is None:
        tolerance = SAMPLER if golden.subject == "sampler" else NETWORK
        if resolved is not None:
            tolerance = QUANTIZED if scheme != "fp32" else LOWERED
    noise = getattr(agreement, "NOISE", {})  # of an output by name, or of all outputs with that last name
    allowed = {name: max(tolerance, noise.get(name, noise.get(name.rpartition(".")[2], 0.0))) for name in expected}
    rows = [_row(name, found[name], value, allowed[name]) for name, value in expected.items()]
    return {
        "family": family,
        "golden": str(folder),
        "target": resolved.name if resolved else "eager",
        "scheme": scheme,
        "tolerance": tolerance,
        "outputs": rows,
        "passed": bool(rows) and all(row["relative"] <= row["allowed"] for row in rows),
    }


@contextmanager
def _told(family: str, folder: Path) -> Iterator[None]:
    """What a family's code meets in a set that lacks something or does not fit together, as an error of the set's."""
    try:
        yield
    except KeyError as error:
        raise UsageError(
            f"{folder}: has no {error.args[0]!r}, which a golden set of its kind for {family} needs (in.NAME, mid.NAME "
            "and out.NAME are tensors of io.safetensors, other names are of config.json and meta.json); add it"
        ) from error
    except (RuntimeError, ValueError, IndexError, TypeError, AttributeError, AssertionError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise UsageError(
            f"{folder}: its tensors, configuration and weights do not fit each other, or a set for {family} "
            f"({said[0]}); make them again together"
        ) from error


def _check(folder: Path, found: Arrays, expected: Arrays) -> None:
    """That there is something to compare, in shapes that can be compared."""
    if not expected:
        raise UsageError(f"{folder}: io.safetensors has no output (out.NAME) that this set's network or work makes")
    problems = [
        f"{folder}: out.{name}: has shape {list(value.shape)}, and the set's own network or work makes "
        f"{list(found[name].shape)}; make the set again with its configuration"
        for name, value in expected.items()
        if found[name].shape != value.shape
    ]
    if problems:
        raise UsageError.of(problems)


def _row(name: str, value: np.ndarray, expected: np.ndarray, allowed: float) -> dict[str, Any]:
    error = tensor_error(value, expected)
    scale = float(np.abs(expected).max()) or 1.0
    return {
        "output": name,
        "max_abs": error.max_abs,
        "relative": error.max_abs / scale,
        "relative_l2": error.relative_l2,
        "allowed": allowed,
    }


def _nothing(inputs: Mapping[str, np.ndarray]) -> Arrays:
    raise AssertionError("a set without a network calls none")


def _numpy(tensors: Mapping[str, Tensor]) -> Arrays:
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}


def _eager(component: Component) -> Run:
    def run(inputs: Mapping[str, np.ndarray]) -> Arrays:
        return _numpy(component.run({name: torch.from_numpy(value) for name, value in inputs.items()}))

    return run


def _lowered(component: Component, target: Target, scheme: str, folder: Path) -> Run:
    """The component lowered for `target`, written to `folder` and loaded from there."""
    program = through(component, target, scheme, folder)[1]

    def run(inputs: Mapping[str, np.ndarray]) -> Arrays:
        return to_numpy(program({k: program.xp.asarray(v) for k, v in inputs.items()}))

    return run
