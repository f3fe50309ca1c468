"""Integer matrix products as CUDA takes them.

torchao writes the product for the device that it is traced on. On the CPU (the only device at hand when a program is
captured) it shifts activations to unsigned bytes and subtracts 128 times the column sums of the weights afterwards,
because oneDNN's product takes uint8 x int8. CUDA's takes int8 x int8 only, at least 17 rows, and inner and outer widths
that are multiples of 8. The rewrite here is exact: (q + 128) w - 128 sum(w) = q w.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

from gen3dexport.errors import ExportError

aten = torch.ops.aten

_SHIFT = 128
_LEAST_ROWS = 17
_PADDED_ROWS = 32


def for_cuda(program: ExportedProgram) -> int:
    """Rewrite every integer product of the program in place; how many there are.

    Raises:
        ExportError: when one has a form or a shape that CUDA cannot run.
    """
    graph = program.graph
    products = [n for n in graph.nodes if n.op == "call_function" and n.target is aten._int_mm.default]
    if products:
        for check in graph.find_nodes(op="call_function", target=aten._assert_tensor_metadata.default):
            graph.erase_node(check)  # settled when the program was captured; they would keep dead values alive
        for product in products:
            _rewrite(graph, product)
        graph.eliminate_dead_code()
        program.graph_module.recompile()
    return len(products)


def _rewrite(graph: fx.Graph, product: fx.Node) -> None:
    left, weight = product.args
    assert isinstance(left, fx.Node) and isinstance(weight, fx.Node)
    (rows, inner), outer = left.meta["val"].shape, weight.meta["val"].shape[1]
    if inner % 8 or outer % 8:
        raise ExportError(
            f"{product.name}: an integer product of widths {inner} and {outer}; CUDA needs multiples of 8. "
            "Raise min_features so that this layer stays as it is, or use scheme fp16"
        )
    signed, result = (left, product) if left.meta["val"].dtype == torch.int8 else _unshifted(product, left)
    with graph.inserting_before(product):
        if rows < _LEAST_ROWS:
            signed = _call(graph, product, aten.constant_pad_nd.default, signed, [0, 0, 0, _PADDED_ROWS - rows])
        new = _call(graph, product, aten._int_mm.default, signed, weight)
        if rows < _LEAST_ROWS:
            new = _call(graph, product, aten.slice.Tensor, new, 0, 0, rows)
    result.replace_all_uses_with(new)
    for node in dict.fromkeys((result, product)):
        graph.erase_node(node)


def _unshifted(product: fx.Node, left: fx.Node) -> tuple[fx.Node, fx.Node]:
    """The signed activations, and the node that holds the corrected product."""
    shifted = _through_casts(left)
    signed = _through_casts(shifted.args[0]) if shifted.args else shifted
    users = list(product.users)
    correction = users[0].args[1] if len(users) == 1 and len(users[0].args) == 2 else None
    if not (
        shifted.target is aten.add.Tensor
        and shifted.args[1] == _SHIFT
        and signed.meta["val"].dtype == torch.int8
        and users[0].target in (aten.sub.Tensor, aten.sub_.Tensor)
        and isinstance(correction, fx.Node)
        and correction.target is aten.mul.Tensor
        and correction.args[1] == _SHIFT
        and _is_column_sum(correction.args[0], product.args[1])
    ):
        raise ExportError(
            f"{product.name}: an integer product in a form that is not known (torchao changed?); use torchao 0.18 or "
            "scheme fp16"
        )
    return signed, users[0]


def _is_column_sum(node: Any, weight: Any) -> bool:
    return isinstance(node, fx.Node) and node.target is aten.sum.dim_IntList and node.args[:2] == (weight, [0])


def _through_casts(node: Any) -> fx.Node:
    """The value before the dtype conversions that end in `node`."""
    while node.target is aten.to.dtype:
        node = node.args[0]
    assert isinstance(node, fx.Node)
    return node


def _call(graph: fx.Graph, like: fx.Node, target: Any, *args: Any) -> fx.Node:
    node = graph.call_function(target, args)
    values = [arg.meta["val"] if isinstance(arg, fx.Node) else arg for arg in args]
    with like.meta["val"].fake_mode:
        node.meta = {**like.meta, "val": target(*values)}
    return node
