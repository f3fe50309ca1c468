"""Operators of an ONNX program by onnxruntime's own profiler."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gen3dexport.backends.onnx.loading import OnnxProgram, load_session
from gen3dexport.bundle.program import ProgramRecord
from gen3dexport.disk import scratch
from gen3dexport.operator_times import OperatorTimes, Ran, Turns, own_times

_SUFFIX = "_kernel_time"
_CALL = "model_run"


def profile(folder: Path, record: ProgramRecord, inputs: Mapping[str, Any], turns: Turns) -> OperatorTimes:
    """The nodes of the graph as onnxruntime optimized it."""
    with scratch() as place:
        program = load_session(folder, record, profile_into=place / "calls")
        assert isinstance(program, OnnxProgram)

        def traced() -> None:
            program(inputs)

        turns(traced)
        events = json.loads(Path(program.session.end_profiling()).read_text(encoding="utf-8"))
    runs = sorted((e["ts"], e["dur"]) for e in events if e["name"] == _CALL)[turns.warmup :]
    nodes = sorted(
        (e for e in events if e["cat"] == "Node" and e["name"].endswith(_SUFFIX)), key=lambda e: float(e["ts"])
    )
    calls = tuple(_call([n for n in nodes if begin <= n["ts"] < begin + length], begin) for begin, length in runs)
    return OperatorTimes("onnxruntime's profiler", "measured", calls, "bytes of a node's outputs")


def _call(nodes: list[dict[str, Any]], begin: float) -> tuple[Ran, ...]:
    """A call's nodes; one that holds a graph of its own (If, Loop) has not the time of what is in it."""
    own = own_times([(n["ts"], n["dur"]) for n in nodes])
    return tuple(
        Ran(
            operator=n["args"].get("op_name", "unknown"),
            name=n["name"].removesuffix(_SUFFIX),
            place=n["args"].get("provider", "onnxruntime").removesuffix("ExecutionProvider"),
            start_us=n["ts"] - begin,
            us=us,
            span_us=n["dur"],
            bytes=int(n["args"]["output_size"]) if "output_size" in n["args"] else None,
        )
        for n, us in zip(nodes, own, strict=True)
    )
