"""Integer and float8 matrix products as CUDA takes them.

An integer product has at least 17 rows, and inner and outer widths that are multiples of 8; those of a float8 product
are multiples of 16.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

from gen3dexport.errors import ExportError

aten = torch.ops.aten

_LEAST_ROWS = 17
_PADDED_ROWS = 32


def for_cuda(program: ExportedProgram) -> dict[str, int]:
    """Pad the rows of every integer product of the program that has too few, in place; how many products there are.

    Raises:
        ExportError: when one has widths that CUDA cannot run.
    """
    graph = program.graph
    integer = graph.find_nodes(op="call_function", target=aten._int_mm.default)
    float8 = graph.find_nodes(op="call_function", target=aten._scaled_mm.default)
    for product in integer:
        _check_widths(product, 8, "an integer")
        _pad(graph, product)
    for product in float8:
        _check_widths(product, 16, "a float8")
    program.graph_module.recompile()
    return {"integer_products": len(integer), "float8_products": len(float8)}


def _check_widths(product: fx.Node, multiple: int, kind: str) -> None:
    left, weight = product.args[:2]
    assert isinstance(left, fx.Node) and isinstance(weight, fx.Node)
    inner, outer = left.meta["val"].shape[1], weight.meta["val"].shape[1]
    if inner % multiple or outer % multiple:
        raise ExportError(
            f"{product.name}: {kind} product of widths {inner} and {outer}; CUDA needs multiples of {multiple}. "
            "Raise min_features so that this layer stays as it is, or use scheme fp16"
        )


def _pad(graph: fx.Graph, product: fx.Node) -> None:
    left, weight = product.args
    assert isinstance(left, fx.Node)
    rows = left.meta["val"].shape[0]
    if rows >= _LEAST_ROWS:
        return
    with graph.inserting_before(product):
        padded = _call(graph, product, aten.constant_pad_nd.default, left, [0, 0, 0, _PADDED_ROWS - rows])
        new = _call(graph, product, aten._int_mm.default, padded, weight)
        new = _call(graph, product, aten.slice.Tensor, new, 0, 0, rows)
    product.replace_all_uses_with(new)
    graph.erase_node(product)


def _call(graph: fx.Graph, like: fx.Node, target: Any, *args: Any) -> fx.Node:
    node = graph.call_function(target, args)
    values = [arg.meta["val"] if isinstance(arg, fx.Node) else arg for arg in args]
    with like.meta["val"].fake_mode:
        node.meta = {**like.meta, "val": target(*values)}
    return node
