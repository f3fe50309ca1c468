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

        if only_traces(self.__class__) and getattr(graph_module.graph, _TRACED, None) == _Form.of(graph_module.graph):
            return PassResult(graph_module, True)
        result = original(self, graph_module)
        setattr(result.graph_module.graph, _TRACED, _Form.of(result.graph_module.graph))
        return result

    return call


@functools.cache
def only_traces(kind: Any) -> bool:
    """Whether a class of passes replaces nothing of the tracing but `call`, which edits the graph first."""
    from executorch.exir.pass_base import ExportPass

    tracing = {name for base in ExportPass.__mro__ for name in vars(base)}
    own = {name for base in kind.__mro__ if base not in ExportPass.__mro__ for name in vars(base)}
    return not {name for name in own & tracing if not name.startswith("__")} - {"call", "_abc_impl"}


class _Form:
    """What a graph computes, and the values that tracing left on its nodes; equal where nobody changed either."""

    def __init__(self, nodes: list[tuple[Any, ...]], values: list[Any]) -> None:
        self.nodes, self.values = nodes, values

    @classmethod
    def of(cls, graph: Any) -> _Form:
        """That of a graph now."""
        nodes = list(graph.nodes)
        return cls([(n, n.target, n.args, n.kwargs) for n in nodes], [n.meta.get("val") for n in nodes])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Form) or self.nodes != other.nodes:
            return False
        return all(one is two for one, two in zip(self.values, other.values, strict=True))
