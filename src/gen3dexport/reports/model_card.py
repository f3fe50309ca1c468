"""The model's card of a bill of materials: what the model is and takes, its measured quality, and its limits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from gen3dexport.bundle.manifest import Manifest
from gen3dexport.documents.licences import warning
from gen3dexport.documents.recipe import Recipe
from gen3dexport.reports.records import Against, Estimated, MeasuredMemory, MeasuredTimes, Report
from gen3dexport.reports.text import number

Json = dict[str, Any]

REFERENCES: tuple[Against, ...] = ("quantized", "fp32")


def model_card(
    manifest: Manifest, recipe: Recipe, kinds: Sequence[str], report: Report | None, data: str | None
) -> Json:
    """The card, as CycloneDX has it.

    Args:
        kinds: of the assets that the bundle makes.
        report: what was measured; without one the card has no figures and says so.
        data: what the bill refers to the training data by.
    """
    first = manifest.component(manifest.components[0])
    inputs = (f"{name}: {spec.dtype} {list(spec.shape)}" for name, spec in first.inputs.items())
    parameters: Json = {
        "task": recipe.summary,
        "architectureFamily": manifest.family,
        "modelArchitecture": ", ".join(
            f"{name} ({manifest.parameters[name]} parameters)" for name in manifest.components
        ),
        "inputs": [{"format": text} for text in inputs],
        "outputs": [{"format": kind.replace("_", " ")} for kind in kinds],
    }
    if data is not None:
        parameters["datasets"] = [{"ref": data}]
    found: Json = {
        "modelParameters": parameters,
        "considerations": {
            "useCases": [recipe.summary],
            "technicalLimitations": list(_limits(manifest, recipe, report)),
            "performanceTradeoffs": list(_tradeoffs(manifest, report)),
        },
    }
    if report is not None:
        found["quantitativeAnalysis"] = {"performanceMetrics": list(_metrics(report))}
    return found


def _limits(manifest: Manifest, recipe: Recipe, report: Report | None) -> Iterator[str]:
    if manifest.random_weights:
        yield "random weights: for sizing only, its assets would mean nothing"
    if (limit := warning(recipe.name, recipe.licences)) is not None:
        yield limit
    if recipe.licences.weights is None:
        yield "the licence of the weights is not known"
    if recipe.licences.data is None:
        yield "the training data and their licence are not known"
    if left_out := manifest.settings.get("left_out"):
        yield f"without {', '.join(left_out)}, whose answers have to be given"
    if report is None:
        yield "not validated: nothing of it was measured"
        return
    if report.pipeline.missing:
        yield f"whole assets are unmeasured: {report.pipeline.missing}"
    yield from (f"{c.name} is unmeasured: {c.missing}" for c in report.components if c.missing)
    yield from (
        f"budget {b.name} is missed: {b.reason or number(b.value)}" for b in report.budgets if b.verdict == "fail"
    )


def _tradeoffs(manifest: Manifest, report: Report | None) -> Iterator[str]:
    """Each program's quantization and, where it was measured, what that costs."""
    errors = {} if report is None else {c.name: c.errors.worst("fp32") for c in report.components}
    for program in manifest.programs:
        rules = "".join(f", {pattern} {scheme}" for pattern, scheme in program.rules.items())
        found = errors.get(program.name)
        cost = "" if found is None else f"; relative L2 error to float32 {number(found)}"
        yield f"{program.name}: {program.scheme}{rules}, {manifest.bytes_of(program)} bytes{cost}"


def _metrics(report: Report) -> Iterator[Json]:
    """Every figure with what it is of and what it rests on; values are texts in CycloneDX."""
    on = f"measured on {report.device}"
    for quality in report.pipeline.quality:
        for kind, scores in quality.scores.items():
            for score in scores:
                name = f"{kind}.{score.name}" + (f" ({score.unit})" if score.unit else "")
                yield _metric(name, score.value, f"{on}, against the float32 model, prompt: {quality.prompt}")
    for c in report.components:
        for reference in REFERENCES:
            if (worst := c.errors.worst(reference)) is not None:
                yield _metric("relative L2 error", worst, f"{on}, {c.name} against its {reference} eager model")
        match c.peak_memory:
            case MeasuredMemory() as peak:
                yield _metric("peak memory (bytes)", peak.bytes, f"{on}, {c.name}, {peak.where} memory")
    match report.pipeline.latency:
        case MeasuredTimes():
            yield _metric("latency of one asset (ms)", report.pipeline.latency.p50_ms, f"{on}, median")
        case Estimated():
            for e in report.pipeline.latency.estimates:
                yield _metric("latency of one asset (ms)", e.value, f"estimated by {e.by}, no device measured it")
    yield _metric("size (bytes)", report.size_bytes, "programs and weights on disk")


def _metric(name: str, value: float, of: str) -> Json:
    text = f"{value:.6g}" if isinstance(value, float) and math.isfinite(value) else str(value)
    return {"type": name, "value": text, "slice": of}
