"""A report with one of everything, and assets, for tests of the pages that show them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from sample_reports import error, estimated, pipeline, program, report, times

from gen3dexport.assets.gaussians import Gaussians
from gen3dexport.assets.mesh import Mesh, from_occupancy_logits
from gen3dexport.assets.score import Score
from gen3dexport.backends.executorch.delegation import Delegation
from gen3dexport.reports.html import Shown
from gen3dexport.reports.records import Errors, Judged, MeasuredMemory, ProgramReport, Quality, Unmeasured, Verdict

PROMPT = 'a mug </script><script>alert("x")</script> & more'


def ball(radius: float) -> Mesh:
    grid = (np.arange(12) + 0.5) / 12 - 0.5
    x, y, z = np.meshgrid(grid, grid, grid, indexing="ij")
    return from_occupancy_logits(radius - np.sqrt(x**2 + y**2 + z**2))


def one_gaussian() -> Gaussians:
    one = np.float32([[1, 1, 1]])
    return Gaussians(0 * one, 0.2 * one, np.float32([[1, 0, 0, 0]]), np.float32([0.9]), one[:, None])


DELEGATION = Delegation(
    inside=Counter({"aten.linear.default": 90}),
    outside=Counter({"aten.cos.default": 7, "aten.embedding.default": 2}),
    flops_inside=987,
    flops_outside=13,
).report()


def budget(name: str, verdict: Verdict, **fields: Any) -> Judged:
    base = {"name": name, "limit": 0.02, "value": 0.01, "unit": "", "basis": "measured", "by": None, "floor": False}
    return Judged(**{**base, "verdict": verdict, "reason": None, "exit_code": 5, **fields})


def part(name: str, **fields: Any) -> ProgramReport:
    known = {"program_bytes": 4_560_000, "latency": times(7.89), "facts": {"planned": 4242}}
    known["peak_memory"] = MeasuredMemory(bytes=12_300_000, where="host")
    return program(name, **{**known, **fields})


def scores(rows: Sequence[tuple[str, float, str]]) -> tuple[Score, ...]:
    return tuple(Score(name, value, better) for name, value, better in rows)  # type: ignore[arg-type]


EXACT = Errors(fp32={"features": error(0)}, quantized={"features": error(0)})
INFINITE = error(1).model_copy(update={"relative_l2": math.inf, "cosine": math.nan})
MESH = (("f_score", 0.993, "higher"), ("chamfer", 0.0041, "lower"), ("normal_consistency", 0.972, "higher"))
NOTHING = (("f_score", 0.0, "higher"), ("chamfer", math.inf, "lower"), ("normal_consistency", 0.0, "higher"))
REPORT = report(
    bundle="trellis-mini.bundle",
    target="executorch-xnnpack",
    backend="executorch",
    versions={"torch": "9.9.9"},
    built_with={"torch": "9.9.8"},
    size_bytes=98_760_000,
    verdict="fail",
    budgets=(
        budget("relative_l2", "pass"),
        budget("voxels.iou", "fail", limit=0.9, value=0.8, floor=True),
        budget("latency_ms", "unmeasured", basis="estimated", by="roofline v5e", reason="estimates are not accepted"),
        budget("peak_memory_mb", "unmeasured", value=None, basis="unmeasured", reason="no such device"),
    ),
    components=(
        part("text_encoder", errors=EXACT),
        part("flow", scheme="int8-dynamic", facts={"delegation": DELEGATION}),
        part("decoder", peak_memory=Unmeasured(reason="no such system")),
        part(
            "flow_tpu",
            role="twin",
            errors=Errors(),
            missing="no TPU here",
            latency=estimated((0.58, "roofline"), (0.61, "xla")),
        ),
        part("broken", errors=Errors(fp32={"v": INFINITE})),
    ),
    pipeline=pipeline(
        prompts=(PROMPT,),
        quality=(
            Quality(prompt=PROMPT, scores={"voxels": (Score("iou", 0.981, "higher"),), "mesh": scores(MESH)}),
            Quality(prompt="nothing", scores={"voxels": (Score("iou", 0.0, "higher"),), "mesh": scores(NOTHING)}),
        ),
        latency=times(512.0),
        stages={"text_encoder": 18.0, "flow": 450.0, "decoder": 44.0},
    ),
)
UNKNOWN = Unmeasured(reason="no sm_90 device")
DARK = report(
    target="cuda-sm90",
    verdict="unmeasured",
    components=(part("flow", errors=Errors(), latency=UNKNOWN, peak_memory=UNKNOWN, missing=UNKNOWN.reason, facts={}),),
    pipeline=pipeline(quality=(), latency=UNKNOWN, missing=UNKNOWN.reason),
)
SHOWN = Shown(PROMPT, {"mesh": ball(0.3)}, {"mesh": ball(0.32)})
PLOTS = {
    "plot-latency",
    "plot-stages",
    "plot-errors",
    "plot-delegation",
    "scene-generated-mesh",
    "scene-reference-mesh",
}
