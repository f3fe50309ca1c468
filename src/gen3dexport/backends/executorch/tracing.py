"""Passes over a graph that trace it anew, and how to see that there is nothing to trace."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

_TRACED = "_gen3dexport_traced"


def when_changed(original: Callable[..., Any]) -> Callable[..., Any]:
    """A pass that only traces a graph anew leaves one that came out of a pass, and that nothing changed since."""

    @functools.wraps(original)
    def call(self: Any, graph_module: Any) -> Any:
        from torch.fx.passes.infra.pass_base import PassResult

        if only_traces(self.__class__) and _as_traced(graph_module.graph):
            return PassResult(graph_module, True)
        result = original(self, graph_module)
        setattr(result.graph_module.graph, _TRACED, _form(result.graph_module.graph))
        return result

    return call


@functools.cache
def only_traces(kind: Any) -> bool:
    """Whether a class of passes replaces nothing of the tracing but `call`, which edits the graph first."""
    from executorch.exir.pass_base import ExportPass

    tracing = {name for base in ExportPass.__mro__ for name in vars(base)}
    own = {name for base in kind.__mro__ if base not in ExportPass.__mro__ for name in vars(base)}
    return not {name for name in own & tracing if not name.startswith("__")} - {"call", "_abc_impl"}


def _form(graph: Any) -> tuple[list[Any], list[Any]]:
    """What a graph computes, node by node, and the values that tracing left on the nodes."""
    nodes = list(graph.nodes)
    return [(n, n.target, n.args, n.kwargs) for n in nodes], [n.meta.get("val") for n in nodes]


def _as_traced(graph: Any) -> bool:
    """Whether a graph came out of a pass, and nobody changed a node or a value since."""
    if not hasattr(graph, _TRACED):
        return False
    (nodes, values), (nodes_now, values_now) = getattr(graph, _TRACED), _form(graph)
    return nodes == nodes_now and all(was is now for was, now in zip(values, values_now, strict=True))
