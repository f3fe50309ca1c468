"""Reports made by hand, for tests of what reads them."""

from __future__ import annotations

from typing import Any

from gen3dexport.assets.score import Score
from gen3dexport.bundle.program import Estimate
from gen3dexport.reports.records import (
    Errors,
    Estimated,
    MeasuredMemory,
    MeasuredTimes,
    OutputError,
    Pipeline,
    ProgramReport,
    Quality,
    Report,
)


def times(ms: float, threads: int = 2) -> MeasuredTimes:
    """Times around a median."""
    return MeasuredTimes(
        threads=threads, warmup=3, runs=20, p50_ms=ms, p90_ms=1.2 * ms, p99_ms=1.5 * ms, mean_ms=1.1 * ms, min_ms=ms / 2
    )


def estimated(*values: tuple[float, str]) -> Estimated:
    """Estimates by cost models."""
    return Estimated(estimates=tuple(Estimate(value, by) for value, by in values))


def error(size: float) -> OutputError:
    """The error of an output that is off by so much."""
    psnr = float("inf") if size == 0 else 50.0
    return OutputError(max_abs=3 * size, relative_l2=size, cosine=1 - size**2, psnr_db=psnr)


def program(name: str = "flow", **fields: Any) -> ProgramReport:
    """A program that was measured."""
    known: dict[str, Any] = {
        "name": name,
        "component": name,
        "role": "component",
        "scheme": "fp32",
        "parameters": 1_230_000,
        "program_bytes": 1_000_000,
        "weights_bytes": 1_000_000,
        "errors": Errors(fp32={"v": error(3e-3)}, quantized={"v": error(2e-6)}),
        "latency": times(10),
        "peak_memory": MeasuredMemory(bytes=5_000_000, where="host"),
        "missing": None,
        "facts": {},
        "estimates": {},
        "unquantized": None,
    }
    return ProgramReport(**{**known, **fields})


def quality(prompt: str = "a chair", iou: float = 0.95, f_score: float = 0.99, chamfer: float = 0.01) -> Quality:
    """One asset's scores of two kinds."""
    mesh = (Score("f_score", f_score, "higher"), Score("chamfer", chamfer, "lower"))
    return Quality(prompt=prompt, scores={"voxels": (Score("iou", iou, "higher"),), "mesh": mesh})


def pipeline(**fields: Any) -> Pipeline:
    """Whole assets that were measured."""
    known: dict[str, Any] = {"prompts": ("a chair",), "seed": 0, "quality": (quality(),), "latency": times(100)}
    return Pipeline(**{**known, **fields})


def report(**fields: Any) -> Report:
    """A report of one program, without budgets."""
    known: dict[str, Any] = {
        "bundle": "chair-maker",
        "recipe": "trellis-mini",
        "target": "eager",
        "backend": "eager",
        "device": "a CPU",
        "created": "2026-11-23",
        "versions": {},
        "built_with": {},
        "random_weights": False,
        "licences": {},
        "components": (program(),),
        "pipeline": pipeline(),
        "size_bytes": 2_000_000,
        "budgets": (),
        "verdict": "pass",
        "accept_unmeasured": False,
    }
    return Report(**{**known, **fields})
