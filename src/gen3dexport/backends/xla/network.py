"""A captured component as one JAX function: the repeated block as a scan over its stacked weights.

Imports torch and JAX.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import Array, ShapeDtypeStruct, lax
from torch import Tensor, nn

from gen3dexport.backends.xla.capture import Graph, Lowerings, capture, plain
from gen3dexport.backends.xla.rows import Layer
from gen3dexport.backends.xla.weights import shape_of
from gen3dexport.errors import ExportError
from gen3dexport.export import Captured, Stack

Source = Tensor | tuple[Tensor, ...]
State = Mapping[str, Any]  # arrays; in a scan, layers of a stack of them


@dataclass(frozen=True)
class Network:
    """A component that JAX can trace.

    Attributes:
        name: the component's.
        call: (state, inputs, lowerings) -> outputs; `state` has an array for every key of `sources`.
        sources: the tensors of each key: one, or one per block, which are stacked along a new first axis.
        blocks: number of repeated blocks, 0 without a stack.
    """

    name: str
    call: Callable[[State, Sequence[Any], Lowerings], list[Array]]
    sources: Mapping[str, Source]
    blocks: int

    @property
    def state(self) -> dict[str, ShapeDtypeStruct]:
        """Shape and dtype of every weight, as the program takes it."""
        return {key: shape_of(source) for key, source in self.sources.items()}


def network(captured: Captured, scan: bool = True) -> Network:
    """The JAX form of `captured`; with `scan` its repeated blocks are one loop body.

    Raises:
        ExportError: when an operator is refused, or the blocks differ in more than their weights.
    """
    stack = captured.stack if scan else None
    return _whole(captured) if stack is None else _scanned(captured, stack)


def _whole(captured: Captured) -> Network:
    name = captured.component.name
    graph = capture(captured.whole, name)
    return Network(
        name,
        lambda state, inputs, lowerings: graph.call(state, inputs, lowerings),
        {**graph.weights, **graph.constants},
        0,
    )


def _scanned(captured: Captured, stack: Stack) -> Network:
    name = captured.component.name
    before = capture(stack.before, f"{name}.before")
    block = capture(stack.block, f"{name}.block")
    after = capture(stack.after, f"{name}.after")
    blocks = captured.component.blocks
    assert blocks is not None
    _same_buffers(name, blocks)
    columns = _columns(block, stack.weights)
    sources: dict[str, Source] = {f"block.{key}": column for key, column in columns.items()}
    for part, graph in (("before", before), ("after", after)):
        sources |= {f"{part}.{key}": value for key, value in {**graph.weights, **graph.constants}.items()}
    sources |= {f"block.{key}": value for key, value in block.constants.items()}

    def call(state: State, inputs: Sequence[Any], lowerings: Lowerings) -> list[Array]:
        x, *shared = before.call(_part(state, "before"), inputs, lowerings)
        own = _part(state, "block")
        constants = {key: own[key] for key in block.constants}

        def body(x: Array, index: Array) -> tuple[Array, None]:
            weights = {key: Layer(own[key], index) for key in columns}
            (out,) = block.call({**constants, **weights}, [x, *shared], lowerings)
            if (out.shape, out.dtype) != (x.shape, x.dtype):
                raise ExportError(
                    f"{name}: a block takes {x.dtype}{list(x.shape)} and gives {out.dtype}{list(out.shape)}; "
                    "repeated blocks must keep shape and dtype"
                )
            return out, None

        x, _ = lax.scan(body, x, jnp.arange(len(stack.weights), dtype=jnp.int32))
        return after.call(_part(state, "after"), [x, *shared], lowerings)

    return Network(name, call, sources, len(stack.weights))


def _part(state: State, part: str) -> dict[str, Array]:
    prefix = f"{part}."
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def _columns(block: Graph, weights: Sequence[Mapping[str, Tensor]]) -> dict[str, tuple[Tensor, ...]]:
    """The weights of every block by key, for the keys that the block's graph reads; a stack's blocks have one form."""
    rows = [plain(row) for row in weights]
    return {key: tuple(row[key].detach() for row in rows) for key in block.weights}


def _same_buffers(name: str, blocks: nn.ModuleList) -> None:
    """Buffers outside the state dict are captured from block 0 alone: they must not differ."""
    rows = [{k: v for k, v in block.named_buffers() if k not in block.state_dict()} for block in blocks]
    for index, row in enumerate(rows):
        for key, value in row.items():
            if key not in rows[0] or not value.equal(rows[0][key]):
                raise ExportError(
                    f"{name}: buffer {key} of block {index} differs from block 0's; make it persistent, so that it "
                    "travels with the weights"
                )
