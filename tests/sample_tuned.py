"""What a search found, as its tests write it."""

from __future__ import annotations

import math
from typing import Any

from gen3dexport.documents.recipe import ComponentChoice
from gen3dexport.reports.records import Measured, Value
from gen3dexport.search.records import Built, Layer, Sensitivity, Tried, Tuned


def row(pattern: str, loss: float, saved: int, **fields: Any) -> Layer:
    row = {"component": "flow", "pattern": pattern, "scheme": "int8", "loss": loss, "saved_bytes": saved}
    return Layer(**{**row, "layers": 1, "snr_db": 200.0, "parameters": saved, **fields})


def tried(name: str, loss: float = 0.0) -> Tried:
    return Tried(name=name, uniform=False, choices={}, megabytes=1, loss=loss)


def candidate(name: str, found: float | Value, loss: float) -> Built:
    value = Measured(value=found) if isinstance(found, float | int) else found
    return Built(name=name, uniform=False, choices={}, megabytes=1, loss=loss, found=value)


MIXED = {"flow": ComponentChoice(scheme="fp32", rules={"blocks.*.mlp": "bf16"})}
RESULT = Tuned(
    recipe="trellis-tiny",
    target="eager",
    backend="eager",
    minimize="size",
    unit="MB",
    max_loss=0.01,
    chosen="mixed 1",
    best_uniform="fp32",
    gain=0.2,
    candidates=(
        candidate("fp32", 1.25, 0),
        candidate("mixed 1", 1.0, 0.001).model_copy(
            update={"choices": MIXED, "loss_of": "built programs", "device": "a CPU"}
        ),
    ),
    tried=(tried("fp32"), tried("mixed 1", 0.002)),
    sensitivity=Sensitivity(
        recipe="trellis-tiny",
        target="eager",
        prompts=("a chair",),
        seed=0,
        loss="1 - voxels iou",
        rows=(row("blocks.*.mlp", 0.001, 100), row("in_layer", math.inf, 100)),
    ),
)
