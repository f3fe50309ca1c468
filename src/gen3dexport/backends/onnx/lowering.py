"""A capture as an ONNX file: exported, stripped of what names this machine, checked."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from gen3dexport.backends._quiet import quiet
from gen3dexport.backends.onnx import int4_linear, int8_convolution, int8_linear, log_sigmoid
from gen3dexport.backends.onnx.loading import Requires
from gen3dexport.bundle.program import Lowered
from gen3dexport.errors import ExportError
from gen3dexport.export import Captured

# Larger weights go to a file of their own: protobuf ends at 2 GB, and copies what it holds several times before that.
_INLINE_BYTES = 16 << 20


def lower_capture(captured: Captured, opset: int, requires: Requires, out: Path) -> Lowered:
    """Write NAME.onnx into `out`, with the weights in NAME.onnx.data when they are large.

    Raises:
        ExportError: when an operator has no ONNX form, or the model does not pass ONNX's own check.
    """
    import onnx

    component = captured.component
    name = f"{component.name}.onnx"
    try:
        with warnings.catch_warnings(), quiet("torch.onnx"):
            warnings.simplefilter("ignore")
            exported = torch.onnx.export(
                captured.whole,
                dynamo=True,
                opset_version=opset,
                input_names=list(component.inputs),
                output_names=[f"{n}_out" if n in component.inputs else n for n in component.outputs],  # all differ
                custom_translation_table={
                    **int4_linear.translations(),
                    **int8_linear.translations(),
                    **int8_convolution.translations(),
                    **log_sigmoid.translations(),
                },
                verbose=False,
            )
        assert exported is not None
        int8_convolution.own_zero_points(exported.model)
        _strip(exported.model)
        weights = [v.const_value for v in exported.model.graph.initializers.values() if v.const_value is not None]
        large = sum(w.nbytes for w in weights) > _INLINE_BYTES
        exported.save(out / name, external_data=large)
        onnx.checker.check_model(str(out / name), full_check=True)
    except Exception as error:  # exporter and checker raise many types; the cause is kept
        raise ExportError(f"{component.name}: ONNX opset {opset} cannot take it: {error}") from error
    model = onnx.load(out / name, load_external_data=False)
    files = (name, f"{name}.data") if large else (name,)
    return Lowered(files=files, requires=requires, facts=_facts(model))


def _strip(model: Any) -> None:
    """Remove the exporter's notes on every node and value: source paths and memory addresses of this process."""
    model.metadata_props.clear()
    for graph in model.graphs():
        graph.metadata_props.clear()
        graph.doc_string = None
        for value in (*graph.inputs, *graph.initializers.values()):
            value.metadata_props.clear()
        for node in graph:
            node.metadata_props.clear()
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()


def _facts(model: Any) -> dict[str, Any]:
    operators = Counter(node.op_type for part in (model.graph, *model.functions) for node in part.node)
    domains = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    return {
        "opset": domains["ai.onnx"],
        "domains": domains,
        "ir_version": model.ir_version,
        "operators": dict(sorted(operators.items())),
    }
