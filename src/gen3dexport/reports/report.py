"""Reports: what a bundle is and what was measured of it, judged by its budgets; and read back. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gen3dexport.bundle.manifest import Manifest, verify
from gen3dexport.bundle.program import Estimate, ProgramRecord
from gen3dexport.bundle.report_files import MANIFEST
from gen3dexport.documents.budgets import Budgets
from gen3dexport.documents.plain import problems, shown
from gen3dexport.documents.record import told
from gen3dexport.errors import UsageError, VerificationError
from gen3dexport.reports.judge import judge, overall
from gen3dexport.reports.records import (
    SCHEMA,
    BesideUnquantized,
    Estimated,
    Latency,
    MeasuredProgram,
    Measurement,
    PeakMemory,
    Pipeline,
    ProgramReport,
    Report,
    Unmeasured,
)
from gen3dexport.reports.unquantized import against_unquantized


def make_report(
    manifest: Manifest, name: str, measured: Measurement, versions: Mapping[str, str], created: str
) -> Report:
    """The report of a bundle: what was measured, and its verdict on every budget that is set.

    Raises:
        VerificationError: when the manifest says of a program what no report can hold.
    """
    try:
        components = tuple(_program(manifest, p, measured.programs[p.name]) for p in manifest.programs)
    except ValidationError as error:
        raise VerificationError(
            f"{name}: the manifest's facts are not what a backend writes ({told(error)}); build the bundle again"
        ) from error
    pipeline = _pipeline(manifest, measured.pipeline, components)
    size = sum(manifest.bytes_of(p) for p in manifest.programs)
    budgets = _budgets(manifest.recipe).over(_budgets(manifest.target))
    judged = judge(budgets, components, pipeline, size)
    return Report(
        bundle=name,
        recipe=manifest.recipe["name"],
        target=manifest.target["name"],
        backend=manifest.target["backend"],
        device=measured.device,
        created=created,
        versions=dict(versions),
        built_with=manifest.versions,
        random_weights=manifest.random_weights,
        licences=manifest.licences,
        components=components,
        pipeline=pipeline,
        size_bytes=size,
        budgets=judged,
        verdict=overall(judged),
        accept_unmeasured=budgets.accept_unmeasured,
    )


def read_report(path: Path) -> Report:
    """The report of a bundle's folder, or of a `report.json`.

    Raises:
        UsageError: when there is none.
        VerificationError: when it cannot be read as a report of this version, or leads out of the bundle.
    """
    file = path / "report.json" if path.is_dir() else path
    if path.is_dir() and file.is_symlink():
        raise VerificationError(f"{file}: a link; a bundle has none, copy or build it again")
    if not file.is_file():
        remedy = (
            f"make it with: gen3dexport validate {path}"
            if path.is_dir()
            else "give the folder of a bundle that `gen3dexport build` made, or its report.json"
        )
        raise UsageError(f"{file}: no report there; {remedy}")
    try:
        text = file.read_text(encoding="utf-8")
        data = json.loads(text)
        version = data["schema"]
        if type(version) is not int:
            raise TypeError(f"schema {shown(version)}")
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise VerificationError(f"{file}: not a readable report ({error!r}); validate the bundle again") from error
    if version != SCHEMA:
        remedy = "validate the bundle again" if version < SCHEMA else "upgrade gen3dexport"
        raise VerificationError(f"{file}: report format {version!r}, and this gen3dexport reads {SCHEMA}; {remedy}")
    if found := problems(data, texts=False):
        said = "; ".join(f"{key}: {problem}" for key, problem in found)
        raise VerificationError(f"{file}: not a readable report ({said}); validate the bundle again")
    try:
        return Report.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise VerificationError(f"{file}: not a readable report ({told(error)}); validate the bundle again") from error


def read_checked_report(path: Path) -> Report:
    """The report, as `read_report` reads it; of a bundle, every file is compared with its digest first.

    Raises:
        UsageError: when there is none.
        VerificationError: when it cannot be read, or its bundle or itself was changed since it was written.
    """
    folder = path if path.is_dir() else path.parent
    if (folder / MANIFEST).is_file() or (folder / "programs").is_dir():
        verify(folder)
    return read_report(path)


def _budgets(document: Mapping[str, Any]) -> Budgets:
    """The budgets that a recipe or target sets."""
    return Budgets(**{k: v for k, v in document["budgets"].items() if v is not None})


def _program(manifest: Manifest, program: ProgramRecord, measured: MeasuredProgram) -> ProgramReport:
    own = manifest.files[f"programs/{program.files[0]}"].bytes
    missing = measured.missing and (program.unmeasured or measured.missing)
    latency: Latency = _because(measured.latency, missing)
    if isinstance(latency, Unmeasured) and (estimates := program.estimates.get("latency_ms")):
        latency = Estimated(estimates=estimates)
    memory: PeakMemory = _because(measured.peak_memory, missing)
    return ProgramReport(
        name=program.name,
        component=program.component,
        role=program.role,
        scheme=program.scheme + _exceptions(program.rules),
        parameters=manifest.parameters[program.component],
        program_bytes=own,
        weights_bytes=manifest.bytes_of(program) - own,
        errors=measured.errors,
        latency=latency,
        peak_memory=memory,
        missing=missing,
        facts=program.facts,
        estimates=program.estimates,
        unquantized=_unquantized(manifest, program, measured, missing),
    )


def _because(found: Any, missing: str | None) -> Any:
    """What was found; where the program is missing, unmeasured for that reason."""
    return found if missing is None else Unmeasured(reason=missing)


def _exceptions(rules: Mapping[str, str]) -> str:
    """How many rules a program's scheme has exceptions by."""
    return f" and {len(rules)} rule{'s' if len(rules) > 1 else ''}" if rules else ""


def _unquantized(
    manifest: Manifest, program: ProgramRecord, measured: MeasuredProgram, missing: str | None
) -> BesideUnquantized | None:
    """The program beside its unquantized one, where a budget compares them."""
    found = manifest.unquantized.get(program.component)
    if found is None or program.role != "component":
        return None
    slowdown = measured.slowdown or Unmeasured(reason=program.unmeasured or missing or "it was not timed")
    return against_unquantized(program, manifest.bytes_of(program), found, slowdown)


def _pipeline(manifest: Manifest, measured: Pipeline, components: Sequence[ProgramReport]) -> Pipeline:
    missing = measured.missing and next((c.missing for c in components if c.missing), measured.missing)
    latency: Latency = _because(measured.latency, missing)
    if isinstance(latency, Unmeasured):
        latency = estimated_asset(manifest.calls, components) or latency
    return measured.model_copy(update={"missing": missing, "latency": latency})


def estimated_asset(calls: Mapping[str, int], components: Sequence[ProgramReport]) -> Estimated | None:
    """The time of one asset as calls times estimates, for each cost model that every component has; of a component's
    twin where there is one, for that is what the device runs."""
    twins = {c.component: c for c in components if c.role == "twin"}
    networks = [twins.get(c.component, c) for c in components if c.role == "component"]
    models = [
        {e.by: e.value for e in c.latency.estimates} if isinstance(c.latency, Estimated) else {} for c in networks
    ]
    shared = [by for by in models[0] if all(by in m for m in models)]
    totals = [
        Estimate(sum(calls[c.component] * m[by] for c, m in zip(networks, models, strict=True)), by) for by in shared
    ]
    return Estimated(estimates=tuple(totals)) if totals else None
