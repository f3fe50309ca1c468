"""One component through a target, without a bundle: quantized, lowered into a folder; loaded from there if wanted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gen3dexport import backends
from gen3dexport.backends import Program
from gen3dexport.bundle.program import ProgramRecord, program_record, specs
from gen3dexport.documents.target import Target
from gen3dexport.errors import MissingError, UsageError
from gen3dexport.export import Captured
from gen3dexport.models.component import Component
from gen3dexport.plan import backend_options
from gen3dexport.quantization.rules import quantize_by_rules
from gen3dexport.quantization.smoothing import smoothed


def through(
    component: Component,
    target: Target,
    scheme: str,
    folder: Path,
    rules: Mapping[str, str] | None = None,
    smoothing: float | None = None,
) -> tuple[ProgramRecord, Program]:
    """The program of `component` from disk, and its record; takes and raises what `lowered` does."""
    record = lowered(component, target, scheme, folder, rules, smoothing)
    return record, backends.find(target.backend).load(folder, record)


def lowered(
    component: Component,
    target: Target,
    scheme: str,
    folder: Path,
    rules: Mapping[str, str] | None = None,
    smoothing: float | None = None,
) -> ProgramRecord:
    """The record of `component`'s program, written into `folder`; quantizes the component in place.

    Args:
        rules: schemes of single layers by pattern, see `quantization.rules`.
        smoothing: its strength, see `quantization.smoothing`.

    Raises:
        MissingError: when the target's tools are not here.
        UsageError: when the target does not take the scheme.
    """
    backend, options = backends.find(target.backend), backend_options(target)
    if missing := backend.check(options):
        raise MissingError(f"target {target.name}: not ready here:\n  " + "\n  ".join(missing))
    if scheme not in backend.SCHEMES:
        raise UsageError(f"target {target.name}: scheme {scheme!r}: {backend.REFUSED.get(scheme, 'unknown')}")
    if scheme != "fp32" or rules:
        component = smoothed(component, scheme, rules or {}, smoothing)
        component = quantize_by_rules(backend, component, scheme, rules or {}, options)
    inputs, outputs = specs(component.inputs), specs(component.run())
    made = backend.lower(Captured(component), options, folder)
    return program_record(component.name, made, inputs, outputs, scheme=scheme)
