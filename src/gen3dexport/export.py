"""Capture of a component with torch.export: whole, or its repeated block once."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.fx.config
from torch import Tensor, nn
from torch.export import ExportedProgram

from gen3dexport.errors import ExportError
from gen3dexport.models.component import Component


@dataclass(frozen=True)
class Stack:
    """The three parts of a component with a repeated block, each captured once.

    Attributes:
        before: inputs -> (x, *shared).
        block: (x, *shared) -> x, captured from block 0; its state dict has block 0's weights. It may take only the
            first of `shared`.
        after: (x, *shared) -> output. It may take only x, or only the first of `shared`.
        weights: the state dict of every block, in order, with the keys of `block.state_dict`.
    """

    before: ExportedProgram
    block: ExportedProgram
    after: ExportedProgram
    weights: tuple[Mapping[str, Tensor], ...]


@dataclass(frozen=True)
class Captured:
    """A (quantized) component and its captures, made on first use."""

    component: Component

    @cached_property
    def whole(self) -> ExportedProgram:
        """The component as one graph."""
        return export_module(self.component.module, tuple(self.component.inputs.values()), self.component.name)

    @cached_property
    def stack(self) -> Stack | None:
        """The component as before, one block, after; None when it has no repeated stack, or when its blocks differ in
        more than the values of their weights (a recipe's rules may give single blocks a scheme of their own)."""
        component, blocks = self.component, self.component.blocks
        if blocks is None or any(_form(block) != _form(blocks[0]) for block in blocks[1:]):
            return None
        inputs = tuple(component.inputs.values())
        before = _Part(component.module, "before", component.stack)
        after = _Part(component.module, "after", component.stack)
        with torch.no_grad():
            carried = before(*inputs)
            read = carried[: _takes(blocks[0].forward, len(carried))]
            last = (blocks[0](*read), *carried[1:])[: _takes(after.function, len(carried))]
        return Stack(
            before=export_module(before, inputs, f"{component.name}.before"),
            block=export_module(blocks[0], read, f"{component.name}.block"),
            after=export_module(after, last, f"{component.name}.after"),
            weights=tuple(block.state_dict() for block in blocks),
        )


def _form(block: nn.Module) -> dict[str, tuple[object, ...]]:
    """Type, dtype, shape and quantization parameters of every weight of a block."""
    return {
        name: (type(value), value.dtype, value.shape, repr(flatten()[1]) if flatten else None)
        for name, value in block.state_dict().items()
        for flatten in [getattr(value, "__tensor_flatten__", None)]
    }


def _takes(function: Callable[..., object], most: int) -> int:
    """How many of `most` tensors a function takes by position."""
    kinds = [p.kind for p in inspect.signature(function).parameters.values()]
    return most if inspect.Parameter.VAR_POSITIONAL in kinds else min(most, len(kinds))


class _Part(nn.Module):
    """One method of a module as a module of its own, without the repeated blocks."""

    def __init__(self, module: nn.Module, method: str, stack: str | None) -> None:
        super().__init__()
        self.module = copy.copy(module)  # shallow: the weights are shared
        self.module._modules = {k: v for k, v in module._modules.items() if k != stack}
        self.method = method

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.function(*inputs)

    @property
    def function(self) -> Callable[..., Tensor | tuple[Tensor, ...]]:
        """The method."""
        method: Callable[..., Tensor | tuple[Tensor, ...]] = getattr(self.module, self.method)
        return method


def export_module(module: nn.Module, inputs: tuple[Tensor, ...], name: str) -> ExportedProgram:
    """`module` as one graph at the shapes of `inputs`.

    Raises:
        ExportError: when torch.export refuses it.
    """
    try:
        with warnings.catch_warnings(), torch.no_grad(), _without_stack_traces():
            warnings.simplefilter("ignore")
            return torch.export.export(module.eval(), inputs, strict=False)
    except Exception as error:  # torch.export raises many types; the cause is kept
        raise ExportError(f"{name}: torch.export refused it: {error}") from error


@contextmanager
def _without_stack_traces() -> Iterator[None]:
    """torch notes of every node which lines of code made it: a quarter of the time, and nothing here reads them."""
    config: Any = torch.fx.config
    before = getattr(config, "do_not_emit_stack_traces", False)  # torch 2.11 has no such choice
    config.do_not_emit_stack_traces = True
    try:
        yield
    finally:
        config.do_not_emit_stack_traces = before
