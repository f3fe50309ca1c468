"""Pallas kernels into a graph of ATen operators: attentions and int8 linear layers with what stands around them.

A kernel is worth its name when it takes whole what XLA would give several passes over memory: queries and keys are read
where the projection wrote them and normed on the way; a linear layer's input is normed, modulated and rounded, its
result activated, gated and added to the residual. Imports torch and JAX.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import torch
from jax import Array
from torch import fx

from gen3dexport.backends.xla import attention_kernel, int8_kernel
from gen3dexport.backends.xla.attention_kernel import Heads
from gen3dexport.backends.xla.int8_layer import INT8_LINEAR
from gen3dexport.backends.xla.rows import LANES, Operation, RowOperation, Weight

_aten = torch.ops.aten
_ELEMENTWISE: dict[Any, Operation] = {_aten.mul.Tensor: "multiply", _aten.add.Tensor: "add"}
Node = Any  # an fx.Node, whose arguments torch types as everything a graph can hold
_TO_TOKENS = [0, 2, 1, 3]  # the permutation between [B, H, T, d] and [B, T, H, d]


@dataclass
class Kernels:
    """What the kernels take, and took.

    Attributes:
        min_keys: attentions over fewer keys stay with XLA.
        used: by kernel, one entry per call.
    """

    min_keys: int
    used: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def note(self, name: str, **what: Any) -> None:
        """Note a call."""
        self.used.setdefault(name, []).append(what)


def fuse(graph: fx.Graph, kernels: Kernels) -> fx.Graph:
    """A copy of `graph` in which kernels stand for what they can take."""
    made = fx.Graph()
    made.output(made.graph_copy(graph, {}))
    for node in made.find_nodes(op="call_function", target=_aten._assert_tensor_metadata.default):
        made.erase_node(node)  # checked at export; here it only hides that a value is read once
    for node in made.find_nodes(op="call_function", target=_aten.scaled_dot_product_attention.default):
        _attention(made, node, kernels)
    for node in made.find_nodes(op="call_function", target=INT8_LINEAR):
        _int8_linear(made, node, kernels)
    made.eliminate_dead_code()
    return made


def _attention(graph: fx.Graph, node: Node, kernels: Kernels) -> None:
    q, k, v, *rest = node.args
    mask = rest[0] if rest else node.kwargs.get("attn_mask")
    batch, count, tokens, width = _shape(q)
    keys = _shape(k)[2]
    plain = len(rest) < 2 and not any(node.kwargs.get(name) for name in ("dropout_p", "is_causal", "enable_gqa"))
    if not plain or keys < kernels.min_keys or width > LANES or not _taken(mask, batch, tokens, keys):
        return
    if _shape(k) != (batch, count, keys, width) or _shape(v) != _shape(k):
        return
    lying = [_lying(value) for value in (q, k, v)]
    found = [place for place in lying if place is not None and place[1].fit]
    if len(found) < 3 or found[2][2] is not None:
        found = [_laid(graph, value) for value in (q, k, v)]
    rate = node.kwargs.get("scale")
    how: Any = (
        tuple(array for array, _, _ in found),
        tuple(heads for _, heads, _ in found),
        1 / math.sqrt(width) if rate is None else rate,
        tuple(gamma for _, _, gamma in found[:2]),
        mask,
        (batch, count, width),
    )
    with graph.inserting_before(node):
        new = graph.call_function(attend, how)
    new.meta["val"] = node.meta["val"]
    node.replace_all_uses_with(new)
    graph.erase_node(node)
    kernels.note(attention_kernel.NAME, batch=batch, heads=count, queries=tokens, keys=keys, width=width)


def _taken(mask: Node | None, batch: int, tokens: int, keys: int) -> bool:
    """Whether the kernel takes a mask of scores: one that says the same to every head."""
    return mask is None or _shape(mask) in {(b, 1, t, keys) for b in (1, batch) for t in (1, tokens)}


def attend(
    arrays: Sequence[Array],
    heads: Sequence[Heads],
    scale: float,
    gammas: Sequence[tuple[Weight, float] | None],
    mask: Array | None,
    shape: tuple[int, int, int],
) -> Array:
    """The attention kernel, its result as [B, H, T, d] with `shape` (B, H, d); XLA takes out this transpose with the
    network's own."""
    batch, count, width = shape
    q, k, v = (array.reshape(batch, -1, array.shape[-1]) for array in arrays)
    if mask is not None and mask.dtype == bool:
        mask = jnp.where(mask, 0.0, attention_kernel.NEVER)
    bias = None if mask is None else mask[:, 0]
    out = attention_kernel.attention(q, k, v, heads, scale, gammas[0], gammas[1], bias)
    out = out.reshape(*out.shape[:2], heads[0].count, heads[0].width)
    return jnp.swapaxes(out[:, :, :count, :width], 1, 2)


def in_place(node: Node) -> bool:
    """Whether kernels alone read the weight `node`, which they can do where it lies among those of other blocks."""
    return bool(node.users) and all(_reads_in_place(user, node) for user in node.users)


def _reads_in_place(user: Node, node: Node) -> bool:
    if user.target is attend:
        return not any(node in part for part in (user.args[0], user.args[4:5]))
    if user.target is linear:
        return node is not user.args[0][0]
    return False


def lay(x: Array, heads: Heads) -> Array:
    """[B, H, T, d] as [B, T, N] with `heads` in it, what they have more than x in zeros."""
    _, count, _, width = x.shape
    x = jnp.pad(jnp.swapaxes(x, 1, 2), ((0, 0), (0, 0), (0, heads.count - count), (0, heads.width - width)))
    return x.reshape(*x.shape[:2], -1)


Place = tuple[Node, Heads, tuple[Node, float] | None]


def _lying(node: Node) -> Place | None:
    """The array [..., N] in which the heads [B, H, T, d] of `node` lie, where, and the gamma that norms them."""
    _, count, _, width = _shape(node)
    if not _is(node, _aten.permute.default) or list(node.args[1]) != _TO_TOKENS:
        return None
    inner, gamma = _normed(node.args[0])
    found = _columns(inner, count, width)
    return None if found is None else (*found, gamma)


def _laid(graph: fx.Graph, node: Node) -> Place:
    """An array made for the heads [B, H, T, d] of `node`, which lie in none that a kernel can read."""
    batch, count, rows, width = _shape(node)
    wide = next(w for w in (16, 32, 64, LANES) if w >= width)
    heads = Heads(-(-count * wide // LANES) * (LANES // wide), wide)
    with graph.inserting_after(node):
        where: Any = (node, heads)
        flat = graph.call_function(lay, where)
    flat.meta["val"] = node.meta["val"].new_empty((batch, rows, heads.count * wide))
    return flat, heads, None


def _columns(node: Node, count: int, width: int) -> tuple[Node, Heads] | None:
    """The array [..., N] whose columns are the heads [B, T, H, d] of `node`: a view, or part of one [B, T, n, H, d]."""
    index = 0
    if _is(node, _aten.squeeze.dims) and list(node.args[1]) == [2] and _is(node.args[0], _aten.slice.Tensor):
        cut = node.args[0]
        if cut.args[1] != 2 or len(cut.args) > 4:
            return None
        index, node = cut.args[2], cut.args[0]
    elif _is(node, _aten.select.int) and node.args[1] == 2:
        index, node = node.args[2], node.args[0]
    if not _is(node, _aten.view.default) or _shape(node)[-2:] != (count, width) or index < 0:
        return None
    source = node.args[0]
    if _shape(source)[-1] != math.prod(_shape(node)[2:]):
        return None
    return source, Heads(count, width, index * count * width)


def _normed(node: Node) -> tuple[Node, tuple[Node, float] | None]:
    """x and gamma where `node` is x / |x| * gamma * number over the last axis (in float32), else `node` itself."""
    value, factor = _uncast(node), 1.0
    if _is(value, _aten.mul.Tensor) and isinstance(value.args[1], int | float):
        value, factor = value.args[0], float(value.args[1])
    if not _is(value, _aten.mul.Tensor):
        return node, None
    ratio, gamma = value.args
    if not isinstance(gamma, fx.Node) or _shape(gamma) != _shape(node)[-2:] or not _is(ratio, _aten.div.Tensor):
        return node, None
    x, length = ratio.args
    links: list[tuple[Any, Callable[[Node], bool]]] = [
        (_aten.expand.default, lambda n: True),
        (_aten.clamp.default, lambda n: n.args[1] <= 1e-6),
        (_aten.pow.Tensor_Scalar, lambda n: n.args[1] == 0.5),
        (_aten.sum.dim_IntList, lambda n: n.args[1] in ([3], [-1])),
        (_aten.pow.Tensor_Scalar, lambda n: n.args[1] == 2),
    ]
    for target, holds in links:
        if not _is(length, target) or not holds(length):
            return node, None
        length = length.args[0]
    return (_uncast(x), (gamma, factor)) if length is x else (node, None)


def _int8_linear(graph: fx.Graph, node: Node, kernels: Kernels) -> None:
    x, weight, scale, bias = node.args
    outputs, inputs = _shape(weight)
    if not int8_kernel.fits(inputs, outputs):
        return
    source, before, read = _before(x)
    last, after, beside = _after(node)
    if bias is not None:
        after, beside = [RowOperation("add", takes=True), *after], [bias, *beside]
    rows = math.prod(_shape(node)[:-1])
    with graph.inserting_after(last):
        arrays = (source, weight, scale, tuple(read), tuple(beside))
        kind = jnp.dtype(str(last.meta["val"].dtype).removeprefix("torch."))
        how: Any = (arrays, tuple(before), tuple(after), _shape(last), kind)
        new = graph.call_function(linear, how)
    new.meta["val"] = last.meta["val"]
    last.replace_all_uses_with(new)
    steps = {"before": [step.operation for step in before], "after": [step.operation for step in after]}
    kernels.note(int8_kernel.NAME, rows=rows, inputs=inputs, outputs=outputs, **steps)


def linear(
    arrays: Sequence[Any],
    before: Sequence[RowOperation],
    after: Sequence[RowOperation],
    shape: Sequence[int],
    dtype: Any,
) -> Array:
    """The int8 kernel on rows of any number of axes."""
    x, weight, scale, read, beside = arrays
    out = int8_kernel.int8_linear(x.reshape(-1, x.shape[-1]), weight, scale, before, read, after, beside, dtype)
    return out.reshape(shape)


def _before(node: Node) -> tuple[Node, list[RowOperation], list[Node]]:
    """What `node` is computed from, and by which steps: modulation, and the layer norm that it is applied to."""
    steps: list[RowOperation] = []
    arrays: list[Node] = []
    value = node
    while len(value.users) == 1:
        if _is(value, _aten._to_copy.default) or (_is(value, _aten.view.default) and _same_rows(value, value.args[0])):
            value = value.args[0]
        elif (found := _step(value)) is not None and found[1].takes and not _same_rows(found[2], value):
            value, step, array = found
            steps.insert(0, step)
            arrays.insert(0, array)
        else:
            break
    if not _is(value, operator.getitem) or not _is(value.args[0], _aten.native_layer_norm.default):
        return (value, steps, arrays) if steps else (node, [], [])
    x, shape, weight, bias, epsilon = value.args[0].args
    if value.args[1] != 0 or len(value.users) > 1 or list(shape) != [_shape(value)[-1]]:
        return (value, steps, arrays) if steps else (node, [], [])
    own = [(RowOperation("multiply", takes=True), weight), (RowOperation("add", takes=True), bias)]
    own = [(step, array) for step, array in own if array is not None]
    steps = [RowOperation("norm", epsilon), *(step for step, _ in own), *steps]
    return _uncast(x), steps, [*(array for _, array in own), *arrays]


def _after(node: Node) -> tuple[Node, list[RowOperation], list[Node]]:
    """The last of the operations that follow `node` row by row, these as steps, and their arrays."""
    steps: list[RowOperation] = []
    arrays: list[Node] = []
    last = value = node
    while len(value.users) == 1:
        (user,) = value.users
        if _is(user, _aten.view.default) and _same_rows(user, value):
            value = user
            continue
        if _is(user, _aten.gelu.default):
            steps.append(RowOperation("gelu_tanh" if user.kwargs.get("approximate") == "tanh" else "gelu_erf"))
        elif (found := _step(user, value)) is not None:
            steps.append(found[1])
            arrays += [found[2]] if found[1].takes else []
        else:
            break
        last = value = user
    return last, steps, arrays


def _step(node: Node, value: Node | None = None) -> tuple[Node, RowOperation, Any] | None:
    """`node` as a product or sum of rows (`value`, or whichever is not one row) and something beside them."""
    if node.target not in _ELEMENTWISE or node.kwargs:
        return None
    operation = _ELEMENTWISE[node.target]
    left, right = node.args
    if right is value or (value is None and _is_row(left, node)):
        left, right = right, left
    if not isinstance(left, fx.Node) or _shape(left) != _shape(node) or _dtype(left) is not _dtype(node):
        return None
    if isinstance(right, int | float):
        return left, RowOperation(operation, float(right)), None
    if not _is_row(right, node) and _shape(right) != _shape(node):
        return None
    return left, RowOperation(operation, takes=True), right


def _is_row(value: Any, like: Node) -> bool:
    """Whether `value` is one row that belongs to every row of `like`."""
    shape = _shape(value) if isinstance(value, fx.Node) else ()
    return bool(shape) and shape[-1] == _shape(like)[-1] and math.prod(shape) == shape[-1]


def _same_rows(one: Node, other: Node) -> bool:
    """Whether both have the same rows, however these are laid out in leading axes."""
    return _shape(one)[-1:] == _shape(other)[-1:] and math.prod(_shape(one)) == math.prod(_shape(other))


def _uncast(node: Node) -> Node:
    return node.args[0] if _is(node, _aten._to_copy.default) else node


def _is(node: Any, target: Any) -> bool:
    return isinstance(node, fx.Node) and node.op == "call_function" and node.target is target


def _dtype(node: Node) -> torch.dtype:
    dtype: torch.dtype = node.meta["val"].dtype
    return dtype


def _shape(node: Node) -> tuple[int, ...]:
    return tuple(node.meta["val"].shape)
