"""Lowered parts of a network joined into one edge program, each part's outputs feeding the next part's inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses import FakeTensorMode
from torch.export import ExportedProgram
from torch.export.exported_program import ModuleCallEntry, ModuleCallSignature
from torch.export.graph_signature import ExportGraphSignature, InputKind, InputSpec, OutputSpec, TensorArgument
from torch.utils._pytree import tree_map_only


@dataclass(frozen=True)
class Part:
    """One occurrence of a lowered graph.

    Attributes:
        edge: the graph; several parts may have the same one.
        modules: its delegates by attribute name.
        tensors: weights outside its delegates that differ from `edge`'s, by `edge`'s names.
    """

    edge: ExportedProgram
    modules: Mapping[str, Any]
    tensors: Mapping[str, Tensor] = field(default_factory=dict)


def join(parts: Sequence[Part]) -> ExportedProgram:
    """One program: the inputs of the first part, the outputs of the last.

    A part's first input is the part before's first output; its further inputs are the first part's further outputs.
    """
    graph, root = fx.Graph(), nn.Module()
    inputs: list[InputSpec] = []
    state: dict[str, Any] = {}
    constants: dict[str, Any] = {}
    known: list[dict[fx.Node, fx.Node]] = [{} for _ in parts]
    for index, part in enumerate(parts):
        for node, spec in _placeholders(part.edge):
            if spec.kind is InputKind.USER_INPUT or not node.users:
                continue
            target = f"part{index}.{spec.target}"
            new = _placeholder(graph, node, f"part{index}_{node.name}")
            known[index][node] = new
            inputs.append(InputSpec(spec.kind, TensorArgument(name=new.name), target, spec.persistent))
            tensor = part.tensors.get(str(spec.target), _tensor(part.edge, str(spec.target)))
            if spec.kind is InputKind.PARAMETER:
                tensor = nn.Parameter(tensor, requires_grad=False)
            (constants if spec.kind is InputKind.CONSTANT_TENSOR else state)[target] = tensor
    carried: list[fx.Node] = []
    for node, spec in _placeholders(parts[0].edge):
        if spec.kind is InputKind.USER_INPUT:
            known[0][node] = _placeholder(graph, node, node.name)
            inputs.append(InputSpec(spec.kind, TensorArgument(name=known[0][node].name), None))
    for index, part in enumerate(parts):
        free = [node for node, spec in _placeholders(part.edge) if spec.kind is InputKind.USER_INPUT]
        if index:
            known[index].update(zip(free, carried, strict=False))
        results = _copy(part, graph, root, known[index])
        carried = results if index == 0 else [*results, *carried[len(results) :]]
    last = parts[-1].edge
    count = len(last.graph_signature.output_specs)
    graph.output(tuple(carried[:count]))
    outputs = [
        OutputSpec(spec.kind, TensorArgument(name=node.name), None)
        for spec, node in zip(last.graph_signature.output_specs, carried, strict=False)
    ]
    _share_fake_mode(graph)
    module = fx.GraphModule(root, graph)
    return ExportedProgram(
        root=module,
        graph=module.graph,
        graph_signature=ExportGraphSignature(inputs, outputs),
        state_dict=state,
        range_constraints={},
        module_call_graph=[_calls(parts[0].edge, last)],
        constants=constants,
        verifiers=[parts[0].edge.verifier],
    )


def _copy(part: Part, graph: fx.Graph, root: nn.Module, known: dict[fx.Node, fx.Node]) -> list[fx.Node]:
    """The nodes of a part at the end of `graph`; returns the copies of its outputs."""
    for node in part.edge.graph.nodes:
        if node.op == "get_attr":
            name = f"lowered_module_{len(root._modules)}"
            root.add_module(name, part.modules[str(node.target)])
            known[node] = graph.get_attr(name)
            known[node].meta = dict(node.meta)
        elif node.op == "call_function":
            known[node] = graph.node_copy(node, known.__getitem__)
        elif node.op == "output":
            return [known[n] for n in node.args[0]]
    raise AssertionError("a graph ends with its output")


def _share_fake_mode(graph: fx.Graph) -> None:
    """Shapes and dtypes of all nodes under one fake mode; each part came with its own."""
    mode = FakeTensorMode()

    def renew(value: Any) -> Any:
        with mode:
            return torch.empty_strided(value.size(), value.stride(), dtype=value.dtype)

    for node in graph.nodes:
        if "val" in node.meta:
            node.meta["val"] = tree_map_only(Tensor, renew, node.meta["val"])


def _placeholders(edge: ExportedProgram) -> list[tuple[fx.Node, InputSpec]]:
    nodes = [n for n in edge.graph.nodes if n.op == "placeholder"]
    return list(zip(nodes, edge.graph_signature.input_specs, strict=True))


def _placeholder(graph: fx.Graph, node: fx.Node, name: str) -> fx.Node:
    new = graph.placeholder(name)
    new.meta = dict(node.meta)
    return new


def _tensor(edge: ExportedProgram, target: str) -> Any:
    return edge.state_dict[target] if target in edge.state_dict else edge.constants[target]


def _calls(first: ExportedProgram, last: ExportedProgram) -> ModuleCallEntry:
    before, after = first.module_call_graph[0].signature, last.module_call_graph[0].signature
    assert before is not None and after is not None
    return ModuleCallEntry("", ModuleCallSignature(before.inputs, after.outputs, before.in_spec, after.out_spec))
