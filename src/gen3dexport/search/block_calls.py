"""The calls of a module's blocks in one run, each as a component of its own; and the single operators of a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from gen3dexport.models.component import Component
from gen3dexport.models.custom.host.sources import of_user
from gen3dexport.models.custom.networks.user_code import short


class Called(nn.Module):
    """A callable with the arguments of one call, whose tensors are its inputs.

    Attributes:
        call: a module or an operator; constants: positions of tensors that stay with the module (weights).
    """

    def __init__(
        self,
        call: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        constants: frozenset[int] = frozenset(),
    ) -> None:
        super().__init__()
        self.call = call
        leaves, self.spec = pytree.tree_flatten((args, dict(kwargs)))
        self.leaves = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.places = [k for k, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and k not in constants]
        self.kept = [k for k in sorted(constants) if isinstance(leaves[k], Tensor)]
        for k in self.kept:
            self.register_buffer(f"kept_{k}", leaves[k])
        self.examples = [leaves[k].detach().clone() for k in self.places]

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        leaves = list(self.leaves)
        for place, tensor in zip(self.places, tensors, strict=True):
            leaves[place] = tensor
        for place in self.kept:
            leaves[place] = getattr(self, f"kept_{place}")
        args, kwargs = pytree.tree_unflatten(leaves, self.spec)
        found = [leaf for leaf in pytree.tree_leaves(self.call(*args, **kwargs)) if isinstance(leaf, Tensor)]
        return found[0] if len(found) == 1 else tuple(found)


def component(name: str, called: Called) -> Component:
    """A call as a component."""
    inputs = {f"input_{k}": value for k, value in enumerate(called.examples)}
    with torch.no_grad():
        made = called(*inputs.values())
    outputs = (made,) if isinstance(made, Tensor) else made
    return Component(name, called.eval(), inputs, tuple(f"output_{k}" for k in range(len(outputs))))


def calls(module: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Called]:
    """The first call of every module inside `module` that is called in a run, by name."""
    found: dict[str, Called] = {}
    handles = []
    for name, block in module.named_modules():
        if not name:
            continue

        def keep(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], name: str = name) -> None:
            if name not in found:
                found[name] = Called(block, args, kwargs)

        handles.append(block.register_forward_pre_hook(keep, with_kwargs=True))
    try:
        with torch.no_grad():
            module(*inputs.values())
    finally:
        for handle in handles:
            handle.remove()
    return found


@dataclass(frozen=True)
class Operator:
    """One operator of a graph: its name, the line of the user's code that calls it, and its call."""

    name: str
    line: str
    called: Called


def operators(exported: ExportedProgram, inputs: Mapping[str, Tensor]) -> Iterator[Operator]:
    """Every operator of a graph that takes tensors, once for each form of its arguments, in order."""
    module = exported.module()
    recorder = _Recorder(module)
    with torch.no_grad():
        recorder.run(*inputs.values())
    seen = set()
    for node, args, kwargs in recorder.found:
        leaves = pytree.tree_leaves((args, kwargs))
        form = (str(node.target), tuple(tuple(x.shape) if isinstance(x, Tensor) else repr(x) for x in leaves))
        if form in seen or not any(isinstance(leaf, Tensor) for leaf in leaves):
            continue
        seen.add(form)
        weights = frozenset(
            k for k, leaf in enumerate(_leaves(node)) if isinstance(leaf, fx.Node) and leaf.op == "get_attr"
        )
        name = operator_name(node)
        yield Operator(name, line_of_node(node), Called(_fresh(node.target), args, kwargs, weights))


def operator_name(node: fx.Node) -> str:
    """`aten.sort.default` of a node."""
    return str(node.target).removeprefix("torch.ops.")


def line_of_node(node: fx.Node) -> str:
    """`file.py:12` in the user's code, of the innermost frame there; "" where there is none."""
    found = ""
    for text in (node.meta.get("stack_trace") or "").splitlines():
        parts = text.strip().split(", ")
        if len(parts) >= 2 and parts[0].startswith('File "') and parts[1].startswith("line "):
            file = parts[0].removeprefix('File "').rstrip('"')
            if Path(file).suffix == ".py" and of_user(Path(file).resolve()):
                found = short(file, int(parts[1].removeprefix("line ")))
    return found


def _leaves(node: fx.Node) -> list[Any]:
    return pytree.tree_leaves((node.args, node.kwargs))


def _fresh(target: Any) -> Callable[..., Any]:
    """An operator that does not change its arguments: one that would gets copies."""
    schema = getattr(target, "_schema", None)
    if schema is None or not schema.is_mutable:
        return target  # type: ignore[no-any-return]

    def call(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = pytree.tree_map_only(Tensor, torch.clone, (args, kwargs))
        return target(*args, **kwargs)

    return call


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps the arguments of every function that it calls."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.found: list[tuple[fx.Node, tuple[Any, ...], dict[str, Any]]] = []

    def run_node(self, n: fx.Node) -> Any:
        """The value of a node."""
        if n.op == "call_function" and isinstance(n.target, torch._ops.OpOverload):
            args, kwargs = self.fetch_args_kwargs_from_env(n)
            copied = pytree.tree_map_only(Tensor, lambda t: t.detach().clone(), (args, kwargs))
            self.found.append((n, *copied))
        return super().run_node(n)
