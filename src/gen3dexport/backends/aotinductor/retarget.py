"""A captured program on another device: a copy whose graph, inputs and weights say so, the original untouched."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.export import ExportedProgram
from torch.fx.node import map_aggregate
from torch.utils import _pytree as pytree

from gen3dexport.errors import ExportError


def real_move(program: ExportedProgram, device: torch.device) -> ExportedProgram:
    """The program on a device that is here; its weights are copied there."""
    return _moved(program, device, lambda name, tensor: _alone(tensor).to(device), lambda tensor: tensor.to(device))


def fake_move(program: ExportedProgram, device: torch.device) -> tuple[ExportedProgram, Mapping[str, Tensor]]:
    """The program on a device that is not here: fake weights and inputs, and the real weights by qualified name.

    The real weights are the program's own tensors (no copy), each alone in its storage and dense.
    """
    mode = _fake_mode(program)
    real: dict[str, Tensor] = {}

    def like(tensor: Tensor) -> Tensor:
        with mode:
            return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)

    def kept(name: str, tensor: Tensor) -> Tensor:
        real[name] = _alone(tensor)
        return like(real[name])

    return _moved(program, device, kept, like), real


def standing(program: ExportedProgram) -> ExportedProgram:
    """The program where it is: a copy whose weights are each alone in their storage (no copy where they are)."""
    return _moved(program, None, lambda name, tensor: _alone(tensor), lambda tensor: tensor)


def _alone(tensor: Tensor) -> Tensor:
    """The tensor, copied if it is a view: packages store whole storages."""
    tensor = tensor.detach()
    if tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size():
        return tensor
    return tensor.clone(memory_format=torch.contiguous_format)


def _moved(
    program: ExportedProgram,
    device: torch.device | None,
    place: Callable[[str, Tensor], Tensor],
    example: Callable[[Tensor], Tensor],
) -> ExportedProgram:
    module = copy.deepcopy(program.graph_module)  # holds no weights: they are inputs of the graph
    signature = copy.deepcopy(program.graph_signature)
    for old, new in zip(program.graph.nodes, module.graph.nodes, strict=True):
        if old.name != new.name:  # copying renames nodes that are called like a builtin, such as `input`
            signature.replace_all_uses(old.name, new.name)
    if device is not None:
        for part in module.modules():
            if isinstance(part, fx.GraphModule):
                _move_graph(part, device)
    state = {name: _parameter(place(name, value), value) for name, value in program.state_dict.items()}
    constants = {
        name: place(name, value) if isinstance(value, Tensor) else value for name, value in program.constants.items()
    }
    args, kwargs = program.example_inputs or ((), {})
    if kwargs:
        raise ExportError(f"keyword inputs {', '.join(kwargs)}: components take positional inputs only")
    return ExportedProgram(
        root=module,
        graph=module.graph,
        graph_signature=signature,
        state_dict=state,
        range_constraints=program.range_constraints,
        module_call_graph=program.module_call_graph,
        example_inputs=(tuple(example(value) for value in args), {}),
        constants=constants,
        verifiers=program.verifiers,
    )


def _parameter(tensor: Tensor, original: Tensor) -> Tensor:
    return nn.Parameter(tensor, requires_grad=False) if isinstance(original, nn.Parameter) else tensor


def _move_graph(module: fx.GraphModule, device: torch.device) -> None:
    def moved(value: Any) -> Any:
        if isinstance(value, FakeTensor):
            with value.fake_mode:
                return value.to(device)
        return value

    def named(value: Any) -> Any:
        return device if isinstance(value, torch.device) else value

    for node in module.graph.nodes:
        if "val" in node.meta:
            node.meta["val"] = pytree.tree_map(moved, node.meta["val"])
        node.args = map_aggregate(node.args, named)
        node.kwargs = map_aggregate(node.kwargs, named)
    module.recompile()


def _fake_mode(program: ExportedProgram) -> FakeTensorMode:
    for node in program.graph.nodes:
        if isinstance(node.meta.get("val"), FakeTensor):
            return node.meta["val"].fake_mode  # type: ignore[no-any-return]
    raise ExportError("the captured program has no tensors")
