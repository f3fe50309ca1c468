"""Vendor names replaced while a program is lowered, so that build time grows with the depth and not with its square.

Partitioning in ExecuTorch cuts a graph one delegate at a time, and after each cut sorts and regenerates the code of the
whole remaining graph. 24 transformer blocks with 23 delegates each were stopped unfinished after nine minutes; sorted
once at the end, the same program took a time linear in the depth. The other replacements leave out work that changes
nothing of the program: text for messages that nobody reads, copies, searches for what is not there.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from gen3dexport.backends.executorch import tracing
from gen3dexport.errors import MissingError

CHECKED_VERSIONS = ("1.5.1",)


@dataclass(frozen=True)
class Replacement:
    """A vendor name and what stands for it during `linear_build`.

    Attributes:
        module: that holds the name.
        name: attribute path inside it.
        reason: why it is replaced.
        make: the replacement, from the original; None where there is none.
    """

    module: str
    name: str
    reason: str
    make: Callable[[Any], Any]


def sort(graph: Any) -> None:
    """Nodes of an FX graph after their inputs, otherwise in the order that they have."""
    done: set[Any] = set()
    last = None
    for start in list(graph.nodes):
        pending = [start]
        while pending:
            node = pending[-1]
            missing = [] if node in done else [n for n in node.all_input_nodes if n not in done]
            if missing:
                pending += reversed(missing)
                continue
            pending.pop()
            if node not in done:
                done.add(node)
                if last is not None:
                    last.append(node)
                last = node


def _without_sort(original: Callable[..., Any]) -> Callable[..., Any]:
    return functools.partial(original, skip_legalize_graph=True)


def _sort_once(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def partitions(graph_module: Any, *args: Any, **kwargs: Any) -> Any:
        nodes = original(graph_module, *args, **kwargs)
        sort(graph_module.graph)
        graph_module.recompile()
        return nodes

    return partitions


def _as_it_is(original: Callable[..., Any] | None) -> Callable[..., Any]:
    return lambda self, memo: self


def _when_called(original: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Code of a graph when it is first called; most are read by the next pass, and never called."""

    @functools.wraps(original)
    def recompile(self: Any) -> None:
        def forward(module: Any, *args: Any, **kwargs: Any) -> Any:
            original(module)  # puts the code in place of this function
            return module(*args, **kwargs)

        if (tree := getattr(self._graph._codegen, "pytree_info", None)) is not None:
            self._in_spec, self._out_spec = tree.in_spec, tree.out_spec
        type(self).forward = forward

    return recompile


def _none(original: Callable[[], Any]) -> Callable[[], Any]:
    return dict


def _if_masked(original: Callable[..., Any]) -> Callable[..., Any]:
    """The search for attention, only where a graph has an operator that all of its patterns have."""

    @functools.wraps(original)
    def call(self: Any, graph_module: Any) -> Any:
        from executorch.backends.xnnpack._passes.xnnpack_pass import XNNPACKPass
        from executorch.exir.dialects._ops import ops

        if any(node.target is ops.edge.aten.any.dim for node in graph_module.graph.nodes):
            return original(self, graph_module)
        return XNNPACKPass.call(self, graph_module)

    return call


def _when_registered(original: Callable[[], None]) -> Callable[[], None]:
    """Operators looked up once, and again when one was registered since."""
    known: list[str] = []

    @functools.wraps(original)
    def look_up() -> None:
        nonlocal known
        import torch

        found = torch._C._dispatch_get_registrations_for_dispatch_key("CompositeImplicitAutograd")
        if found != known:
            original()
            known = found

    return look_up


def _short_text(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self: f"{type(self).__name__} of {len(self.graph.nodes)} nodes"


REPLACEMENTS = (
    Replacement(
        "executorch.exir.backend.backend_api",
        "create_submodule_from_nodes",
        "sorts and recompiles the whole graph once for each delegate",
        _without_sort,
    ),
    Replacement(
        "executorch.exir.backend.backend_api",
        "_create_partitions_in_graph_module",
        "where the one sort that replaces them goes, after the last cut",
        _sort_once,
    ),
    Replacement(
        "torch.fx.graph_module",
        "GraphModule.__str__",
        "a debug message of the partitioner prints the whole graph once for each delegate, at any log level",
        _short_text,
    ),
    Replacement(
        "torch.fx.graph_module",
        "GraphModule.recompile",
        "every pass writes and compiles the Python code of its whole graph, which the next pass does not run",
        _when_called,
    ),
    Replacement(
        "torch.fx.traceback",
        "NodeSource.__deepcopy__",
        "every pass copies every node's history, which every pass lengthens; nothing changes one once it is made",
        _as_it_is,
    ),
    Replacement(
        "executorch.exir.pass_base",
        "_ExportPassBase.call",
        "twelve passes of XNNPACK run the whole graph anew to learn its shapes, changed or not",
        tracing.when_changed,
    ),
    Replacement(
        "executorch.backends.xnnpack.partition.graphs.bilinear_2d",
        "get_graphs_dict",
        "exports four networks in every process to find one operator, and leaves it as it is where it finds it",
        _none,
    ),
    Replacement(
        "executorch.backends.xnnpack._passes.convert_to_sdpa",
        "ConvertToSDPAPass.call",
        "exports its patterns in every process and writes each graph's code twice; `attention` leaves nothing to find",
        _if_masked,
    ),
    Replacement(
        "torch._export.utils",
        "_materialize_cpp_cia_ops",
        "looks up 1,500 operators for each of forty namespaces whenever a program is decomposed",
        _when_registered,
    ),
)


@contextmanager
def linear_build() -> Iterator[None]:
    """Lowering inside is linear in the number of delegates.

    Raises:
        MissingError: for a version of ExecuTorch whose partitioner nobody compared with the replaced one.
    """
    from unittest import mock  # it imports asyncio, and every reader of a target imports this module

    version = importlib.metadata.version("executorch")
    if version not in CHECKED_VERSIONS:
        raise MissingError(
            f"executorch {version}: its partitioner was not checked with this package (checked: "
            f"{', '.join(CHECKED_VERSIONS)}); run: pip install executorch=={CHECKED_VERSIONS[-1]}"
        )
    with ExitStack() as stack:
        for replacement in REPLACEMENTS:
            owner: Any = importlib.import_module(replacement.module)
            *path, name = replacement.name.split(".")
            for part in path:
                owner = getattr(owner, part)
            made = replacement.make(getattr(owner, name, None))
            stack.enter_context(mock.patch.object(owner, name, made, create=not hasattr(owner, name)))
        yield
