"""README's tables, one a claim: a few rows of result files, and a line that says where they come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import renderers
from cells import DASH, commits
from markdown_table import table
from released_renderers import OTHER, differences, differences_text

Results = Mapping[str, Mapping[str, Any]]
TRADEOFF = {
    "eager fp32": "eager fp32",
    "eager bf16": "eager bf16",
    "eager + torchao int8-dynamic": "eager + torchao int8",
    "torch.compile bf16": "torch.compile bf16",
    "torch.compile + torchao int8-dynamic": "torch.compile + torchao int8",
    "cpu-aoti bundle": "cpu-aoti bundle",
    "onnx bundle": "ONNX bundle",
    "executorch bundle": "**ExecuTorch bundle**",
    "executorch bundle, all int8": "**ExecuTorch bundle**, all int8",
}
LOWERED = ("executorch", "tpu-v5e", "cpu-aoti", "onnx")
TARGETS = {"executorch-xnnpack": "ExecuTorch", "tpu-v5e": "tpu-v5e", "cuda-sm90": "cuda-sm90"}


def heldout(found: Results) -> str:
    """Nothing is lost."""
    return _with_source(found["heldout"], renderers.heldout(found["heldout"]))


def tradeoff(found: Results) -> str:
    """Bundles are smaller and faster."""
    rows = {row["variant"]: row for row in found["tradeoff"]["pipeline"]}
    cells = []
    for variant, name in TRADEOFF.items():
        row = rows[variant]
        sizes = f"{row['bytes'] / 1e6:.0f}", f"{row['running_memory']['bytes'] / 1e6:.0f}"
        cells.append((name, *sizes, f"{row['p50_ms']:.0f}", f"{row['ratio']:.2f}", f"{row['loss']:.3f}"))
    head = ("variant", "MB", "MB while running", "ms an asset", "× eager fp32", "loss, 1 - IoU")
    return _with_source(found["tradeoff"], table(head, cells))


def tpu(found: Results) -> str:
    """int8 wins on a TPU with kernels."""
    rows = [row for row in found["tpu_int8"]["rows"] if row["chip"] == "v5e"]
    return _with_source(found["tpu_int8"], renderers.tpu_int8({"rows": rows}))


def parity(found: Results) -> str:
    """Programs agree with the reference: golden sets of networks that every target was compared with."""
    lowered = {name: row for name, row in found["parity"]["rows"].items() if {*LOWERED} <= {*row}}
    families = {name.partition("/")[0] for name in lowered}
    targets, cells = ("eager", *LOWERED), []
    for what, place in (("the middle one", len(lowered) // 2), ("the worst", -1)):
        chosen = [sorted((row[t] for row in lowered.values()), key=renderers.error)[place] for t in targets]
        cells.append((what, *(renderers.agreement(one) for one in chosen)))
    head = (f"{len(lowered)} sets, {len(families)} families", *targets)
    return _with_source(found["parity"], table(head, cells))


def released(found: Results) -> str:
    """Released sizes build."""
    content = found["trellis_image_large_released"]
    rows, others = content["rows"], differences(content)
    components = list(dict.fromkeys(key.rsplit("/", 1)[1] for key in rows))
    keys = [(c, [f"trellis-image-large/{target}/{c}" for target in TARGETS]) for c in components]
    cells = [(c, *(_built(rows.get(key)) + (f" {OTHER}" if key in others else "") for key in of)) for c, of in keys]
    head = ("component", *(f"{name}: parameters, scheme, build, program" for name in TARGETS.values()))
    return _with_source(content, table(head, cells) + differences_text(content))


def _built(row: Mapping[str, Any] | None) -> str:
    if row is None or "failed" in row:
        return DASH
    seconds = "from the cache" if row["build_seconds"] is None else f"{row['build_seconds']:.0f} s"
    return f"{row['parameters'] / 1e6:.0f} M, {row['scheme']}, {seconds}, {row['program_bytes'] / 1e6:.0f} MB"


def _with_source(content: Mapping[str, Any], text: str) -> str:
    made, several = content["made"], commits(content)
    where = f"`{made['commit']}`" if len(several) < 2 else f"rows of {len(several)} commits up to `{made['commit']}`"
    measured = "" if made["device"].startswith("none") else "measured on "
    return f"{text}\n\n`python {made['script']}`, {measured}{made['device']}, {made['date']}, {where}."


TABLES: Mapping[str, Callable[[Results], str]] = {
    function.__name__: function for function in (heldout, tradeoff, tpu, parity, released)
}
