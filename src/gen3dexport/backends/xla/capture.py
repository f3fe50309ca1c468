"""From a torch.export graph to a JAX function of its weights.

The graph is decomposed to core ATen (attention is kept whole, see `operators`), checked for operators that would be
silently wrong, and then interpreted node by node with JAX arrays: first with this backend's own lowerings, then with
torchax's. Imports torch and JAX: import it inside functions only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

from gen3dexport.backends.xla.fuse import Kernels, fuse, in_place
from gen3dexport.backends.xla.refuse import refuse
from gen3dexport.backends.xla.rows import Layer
from gen3dexport.errors import ExportError

_STATE = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)


@dataclass(frozen=True)
class Lowerings:
    """How a graph becomes JAX.

    Attributes:
        operators: the rule of an operator; torchax's for those that are not here.
        kernels: Pallas kernels take what they can, if given: for a TPU alone.
    """

    operators: Mapping[Any, Callable[..., Any]]
    kernels: Kernels | None = None


@dataclass(frozen=True)
class Graph:
    """A decomposed graph and the tensors that it reads.

    Attributes:
        name: of the component or its part, for messages.
        program: the decomposed program.
        weights: parameters and persistent buffers by key, as plain tensors; only those that the graph reads.
        constants: lifted constants and non-persistent buffers by key; only those that the graph reads.
    """

    name: str
    program: ExportedProgram
    weights: Mapping[str, Tensor]
    constants: Mapping[str, Tensor]

    def call(self, state: Mapping[str, Any], inputs: Sequence[Any], lowerings: Lowerings) -> list[Any]:
        """Outputs as JAX arrays; `state` has the weights and constants as JAX arrays or layers of a stack."""
        graph = self.program.graph if lowerings.kernels is None else fuse(self.program.graph, lowerings.kernels)
        remaining = iter(inputs)
        values = []
        for spec, node in zip(
            self.program.graph_signature.input_specs, graph.find_nodes(op="placeholder"), strict=True
        ):
            value = next(remaining) if spec.kind is InputKind.USER_INPUT else state.get(str(spec.target))
            values.append(value.array() if isinstance(value, Layer) and not in_place(node) else value)
        interpreter = _JaxInterpreter(self.program.graph_module, graph, lowerings, self.name)
        return list(interpreter.run(*values, enable_io_processing=False))


def capture(program: ExportedProgram, name: str) -> Graph:
    """`program` decomposed and checked.

    Args:
        program: what torch.export gave.
        name: for messages.

    Raises:
        ExportError: for a graph that mutates buffers, or an operator that would be wrong or that has no rule.
    """
    refuse(program, name)  # before decomposition: the operators still have the names that their author knows
    decomposed = program.run_decompositions(_decompositions())
    signature = decomposed.graph_signature
    mutated = [s.target for s in signature.output_specs if s.kind is not OutputKind.USER_OUTPUT]
    if mutated:
        raise ExportError(f"{name}: its forward writes {mutated[0]}; make the network a pure function of its inputs")
    used = {node.target for node in decomposed.graph.nodes if node.op == "placeholder" and node.users}
    weights: dict[str, Tensor] = {}
    constants: dict[str, Tensor] = {}
    for spec in signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            continue
        key = str(spec.target)
        if spec.kind not in _STATE:
            raise ExportError(f"{name}: the graph takes {key} ({spec.kind.name}), which is not a tensor")
        if getattr(spec.arg, "name", None) not in used:
            continue
        kept = key in decomposed.state_dict
        value = decomposed.state_dict[key] if kept else decomposed.constants[key]
        (weights if kept else constants)[key] = value.detach()
    return Graph(name, decomposed, weights, constants)


def plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` with torchao's tensors taken apart, under the keys that decomposition gives the parts."""
    from torch.utils._python_dispatch import is_traceable_wrapper_subclass  # the only public-in-practice test

    parts: dict[str, Tensor] = {}
    for key, value in state.items():
        if not is_traceable_wrapper_subclass(value):
            parts[key] = value
            continue
        owner, _, leaf = key.rpartition(".")
        prefix = f"{owner}." if owner else ""
        for index, attribute in enumerate(value.__tensor_flatten__()[0]):
            parts[f"{prefix}parametrizations.{leaf}.original{index}"] = getattr(value, attribute)
    return parts


class _JaxInterpreter(fx.Interpreter):
    """Runs a graph of ATen operators on JAX arrays."""

    def __init__(self, module: fx.GraphModule, graph: fx.Graph, lowerings: Lowerings, name: str) -> None:
        super().__init__(module, graph=graph)
        self.lowerings = lowerings.operators
        self.name = name

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if not isinstance(target, torch._ops.OpOverload):
            return super().call_function(target, args, kwargs)  # operator.getitem, Python arithmetic, kernels
        rule = self.lowerings.get(target) or _torchax_rule(target)
        if rule is None:
            raise ExportError(
                f"{self.name}: operator {target} has no XLA rule; write it with other operators or add a rule to "
                "backends/xla/operators.py"
            )
        return rule(*args, **kwargs)


def _torchax_rule(target: torch._ops.OpOverload) -> Callable[..., Any] | None:
    import torchax.ops.jaten  # noqa: F401  fills the table
    from torchax.ops.ops_registry import all_aten_ops  # torchax has no public way to look an operator up

    found = all_aten_ops.get(target) or all_aten_ops.get(target.overloadpacket)
    return found.func if found is not None and found.is_jax_function else None


def _decompositions() -> dict[Any, Any]:
    from torch.export import default_decompositions
    from torchax.decompositions import DECOMPOSITIONS

    table = {**default_decompositions(), **DECOMPOSITIONS}
    table.pop(torch.ops.aten.scaled_dot_product_attention.default, None)  # kept whole, see `operators`
    return table
