"""What runs inside delegates and what stays outside: operators, arithmetic and memory of a lowered program."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx
from torch.export import ExportedProgram

_PRODUCTS = {"aten.linear.default", "aten.mm.default", "aten.addmm.default", "aten.bmm.default", "aten.matmul.default"}
_MOVES = {
    "view_copy", "permute_copy", "slice_copy", "cat", "expand_copy", "clone", "_clone_dim_order", "alias_copy", "alias",
    "unsqueeze_copy", "squeeze_copy", "select_copy", "split_with_sizes_copy", "split_copy", "unbind_copy", "t_copy",
    "transpose_copy", "constant_pad_nd", "_to_dim_order_copy", "_to_copy", "embedding", "index", "full", "arange",
    "repeat", "full_like", "unfold_copy", "flip",
}  # fmt: skip
_QUANTIZATION = ("quantize", "choose_qparams")


@dataclass
class Delegation:
    """Counts over a program, or over a part of it that occurs several times.

    Attributes:
        inside, outside: operators by name, in delegates and left to ExecuTorch's kernels.
        flops_inside, flops_outside: two for each multiplication and addition of products and convolutions, one for each
            number that another arithmetic operator makes, none for data movement and (de)quantization.
        delegates: number of delegate calls.
        live_bytes: the most that intermediate tensors inside one delegate need at once, by their lifetimes in the
            graph; XNNPACK plans this memory itself, besides what the program plans.
    """

    inside: Counter[str] = field(default_factory=Counter)
    outside: Counter[str] = field(default_factory=Counter)
    flops_inside: int = 0
    flops_outside: int = 0
    delegates: int = 0
    live_bytes: int = 0

    def add(self, other: Delegation, times: int = 1) -> Delegation:
        """This, and `times` another."""
        return Delegation(
            self.inside + Counter({k: v * times for k, v in other.inside.items()}),
            self.outside + Counter({k: v * times for k, v in other.outside.items()}),
            self.flops_inside + other.flops_inside * times,
            self.flops_outside + other.flops_outside * times,
            self.delegates + other.delegates * times,
            max(self.live_bytes, other.live_bytes),
        )

    def report(self) -> dict[str, Any]:
        """The facts for a bundle's report."""
        inside, outside = self.inside.total(), self.outside.total()
        flops = self.flops_inside + self.flops_outside
        return {
            "delegates": self.delegates,
            "operators": inside + outside,
            "operators_inside": inside,
            "operators_outside": outside,
            "operators_share": _share(inside, inside + outside),
            "flops": flops,
            "flops_inside": self.flops_inside,
            "flops_share": _share(self.flops_inside, flops),
            "outside": dict(sorted(self.outside.items(), key=lambda item: (-item[1], item[0]))),
        }


def count(edge: ExportedProgram) -> Delegation:
    """The delegation of an edge program whose delegates still have their source."""
    from gen3dexport.backends.executorch.lowering import delegates

    found = Delegation()
    for node in _operators(edge.graph):
        found.outside[_name(node)] += 1
        found.flops_outside += flops(node)
    for module in delegates(edge).values():
        source = module.original_module
        found.delegates += 1
        found.live_bytes = max(found.live_bytes, live_bytes(source.graph))
        for node in _operators(source.graph):
            found.inside[_name(node)] += 1
            found.flops_inside += flops(node)
    return found


def flops(node: fx.Node) -> int:
    """Arithmetic of one operator; see `Delegation`."""
    name, value = _name(node), node.meta["val"]
    size = sum(v.numel() for v in (value if isinstance(value, list | tuple) else [value]) if isinstance(v, Tensor))
    if name in _PRODUCTS:
        first = node.args[1 if name == "aten.addmm.default" else 0]
        assert isinstance(first, fx.Node)
        return 2 * size * int(first.meta["val"].shape[-1])
    if name == "aten.convolution.default":
        weight = node.args[1]
        assert isinstance(weight, fx.Node)
        return 2 * size * int(math.prod(weight.meta["val"].shape[1:]))
    operator = name.split(".")[-2] if "." in name else name
    return 0 if operator in _MOVES or any(q in name for q in _QUANTIZATION) else size


def live_bytes(graph: fx.Graph) -> int:
    """The most bytes of a graph's intermediate tensors alive at once, each from its operator to its last use."""
    order = {node: i for i, node in enumerate(graph.nodes)}
    changes: Counter[int] = Counter()
    outputs = set(graph.output_node().all_input_nodes)
    for node in graph.nodes:
        if node.op != "call_function" or not isinstance(node.meta.get("val"), Tensor) or node in outputs:
            continue
        if any(q in _name(node) for q in _QUANTIZATION):  # fused: only the 8-bit activation exists, for one operator
            continue
        size = node.meta["val"].numel() * node.meta["val"].element_size()
        changes[order[node]] += size
        changes[max((order[user] for user in node.users), default=order[node]) + 1] -= size
    now = peak = 0
    for at in sorted(changes):
        now += changes[at]
        peak = max(peak, now)
    return peak


def _operators(graph: fx.Graph) -> list[fx.Node]:
    skipped = ("getitem", "executorch_call_delegate")
    return [n for n in graph.nodes if n.op == "call_function" and _name(n) not in skipped]


def _name(node: fx.Node) -> str:
    target: Any = node.target
    return str(getattr(target, "__name__", target))


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 1.0
