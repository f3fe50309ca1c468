"""Clean-up of a rewritten graph: chains of reshapes and permutes, broadcasts that pointwise operators do themselves."""

from __future__ import annotations

import torch
from torch import fx
from torch.export import ExportedProgram

aten = torch.ops.aten

_RESHAPES = {
    aten.view.default,
    aten.reshape.default,
    aten._unsafe_view.default,
    aten.flatten.using_ints,
    aten.unflatten.int,
    aten.squeeze.dim,
    aten.squeeze.default,
}
_PERMUTES = {aten.permute.default, aten.transpose.int, aten.mT.default}
_CASTS = {aten.to.dtype, aten._to_copy.default}
_DEQUANTIZE = "quantized_decomposed.dequantize_per_tensor.default"  # registered by torchao, when it is in use
_CHECKS = {aten._assert_tensor_metadata.default}
_POINTWISE = {aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor}
_EXPANDS = {aten.expand.default, aten.expand_as.default}


def simplify(program: ExportedProgram) -> None:
    """Fewer copies for the same result, in place.

    Tensors of more than 6 axes appear only between two reshapes in the networks exported here, and XNNPACK takes 6 axes
    at most: joining the reshapes removes them.
    """
    graph = program.graph
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        if node.target in _CHECKS:
            graph.erase_node(node)
        elif (node.target in _CASTS and node.meta["val"].dtype == _source(node).meta["val"].dtype) or (
            node.target in _EXPANDS and node.meta["val"].shape == _source(node).meta["val"].shape
        ):
            node.replace_all_uses_with(_source(node))
        elif node.target in _PERMUTES:
            _join_permutes(graph, node)
        elif node.target in _RESHAPES:
            _join_reshapes(graph, node)
        elif node.target in _POINTWISE:
            _drop_broadcasts(node)
    graph.eliminate_dead_code()
    _dequantize_for_each_reader(graph)
    for node in graph.nodes:  # histories that every later pass would copy, and that grow with each
        for key in ("from_node", "stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn"):
            node.meta.pop(key, None)
    program.graph_module.recompile()


def _dequantize_for_each_reader(graph: fx.Graph) -> None:
    """A dequantization of its own for every reader of a tensor in static int8.

    XNNPACK's partitioner decides reader by reader whether it computes on the integers, and marks the dequantization
    before it as dropped: another reader, which computes on floats, would get integers, and the delegate fails to load.
    """
    for node in list(graph.nodes):
        if str(node.target) != _DEQUANTIZE:
            continue
        for reader in list(node.users)[1:]:
            with graph.inserting_after(node):
                copy = graph.node_copy(node)
            reader.replace_input_with(node, copy)


def _join_reshapes(graph: fx.Graph, node: fx.Node) -> None:
    base = _source(node)
    while base.op == "call_function" and base.target in _RESHAPES:
        base = _source(base)
    _become_reshape(graph, node, base)


def _become_reshape(graph: fx.Graph, node: fx.Node, base: fx.Node) -> None:
    if base.meta["val"].shape == node.meta["val"].shape:
        node.replace_all_uses_with(base)
    elif node.target is not aten.reshape.default or node.args[0] is not base:
        _replace(graph, node, aten.reshape.default, (base, list(node.meta["val"].shape)))


def _join_permutes(graph: fx.Graph, node: fx.Node) -> None:
    base, order = node, list(range(node.meta["val"].dim()))
    while base.op == "call_function" and base.target in _PERMUTES:
        inner = _order(base)
        base, order = _source(base), [inner[i] for i in order]
    shape = base.meta["val"].shape
    moved = [i for i in order if shape[i] != 1]
    if moved == sorted(moved):
        _become_reshape(graph, node, base)
    elif node.target is not aten.permute.default or node.args[0] is not base:
        _replace(graph, node, aten.permute.default, (base, order))


def _order(node: fx.Node) -> list[int]:
    rank = node.meta["val"].dim()
    if node.target is aten.permute.default:
        dims = node.args[1]
        assert isinstance(dims, list | tuple)
        return [int(d) % rank for d in dims]  # type: ignore[arg-type]
    order = list(range(rank))
    swapped = node.args[1:3] if node.target is aten.transpose.int else (-2, -1)
    first, second = (int(d) % rank for d in swapped)  # type: ignore[arg-type]
    order[first], order[second] = second, first
    return order


def _drop_broadcasts(node: fx.Node) -> None:
    """`a * b.expand(...)` is `a * b` where the operator broadcasts to the same shape."""
    for index, operand in enumerate(node.args[:2]):
        if not (isinstance(operand, fx.Node) and operand.op == "call_function" and operand.target in _EXPANDS):
            continue
        small, other = _source(operand), node.args[1 - index]
        shapes = [small.meta["val"].shape] + ([other.meta["val"].shape] if isinstance(other, fx.Node) else [])
        if torch.broadcast_shapes(*shapes) == node.meta["val"].shape:  # type: ignore[no-untyped-call]
            node.update_arg(index, small)


def _source(node: fx.Node) -> fx.Node:
    source = node.args[0]
    assert isinstance(source, fx.Node)
    return source


def _replace(graph: fx.Graph, node: fx.Node, target: object, args: tuple[object, ...]) -> None:
    with graph.inserting_before(node):
        new = graph.call_function(target, args)  # type: ignore[arg-type]
    new.meta = dict(node.meta)
    node.replace_all_uses_with(new)
