"""Attention kernels of a CUDA program, chosen by dtype and shape.

torch chooses them by asking the device; without one it silently takes plain matrix products, which materialise the
scores (4096 tokens: 1 GiB for 16 heads in half precision). The choice here is the one that torch makes on every
architecture of `gpu_table`: flash attention for half precision, memory-efficient attention for float32.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

aten = torch.ops.aten

_NAMES = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")
_MOST_FLASH_WIDTH = 256


def pin_attention(program: ExportedProgram) -> dict[str, int]:
    """Replace attention nodes by the kernel they run; how many nodes run which (`math`: left to plain products)."""
    counts: dict[str, int] = {}
    for node in list(program.graph.nodes):
        if node.op == "call_function" and node.target is aten.scaled_dot_product_attention.default:
            kernel = _pin(program.graph, node)
            counts[kernel] = counts.get(kernel, 0) + 1
    program.graph_module.recompile()
    return counts


def _pin(graph: fx.Graph, node: fx.Node) -> str:
    given: dict[str, Any] = dict(zip(_NAMES[:6], node.args, strict=False)) | node.kwargs
    query, key, value = (given[name] for name in _NAMES[:3])
    causal, scale = given.get("is_causal", False), given.get("scale")
    kernel = _kernel(given)
    if kernel == "math":
        return kernel
    target, args = {
        "flash": (aten._scaled_dot_product_flash_attention.default, (query, key, value, 0.0, causal, False)),
        "efficient": (
            aten._scaled_dot_product_efficient_attention.default,
            (query, key, value, None, False, 0.0, causal),
        ),
    }[kernel]
    values = [arg.meta["val"] if isinstance(arg, fx.Node) else arg for arg in args]
    with graph.inserting_before(node), query.meta["val"].fake_mode:
        call = graph.call_function(target, args, {"scale": scale})
        call.meta = {**node.meta, "val": target(*values, scale=scale)}
        out = graph.call_function(operator.getitem, (call, 0))
        out.meta = {**node.meta, "val": call.meta["val"][0]}
    node.replace_all_uses_with(out)
    graph.erase_node(node)
    return kernel


def _kernel(given: dict[str, Any]) -> str:
    query, value = given["query"].meta["val"], given["value"].meta["val"]
    plain = given.get("attn_mask") is None and not given.get("dropout_p") and not given.get("enable_gqa")
    if not plain or query.dim() != 4:
        return "math"
    width, value_width = query.shape[-1], value.shape[-1]
    if query.dtype in (torch.float16, torch.bfloat16):
        fits = width == value_width and width % 8 == 0 and width <= _MOST_FLASH_WIDTH
        return "flash" if fits else "math"
    fits = query.dtype == torch.float32 and width % 4 == 0 and value_width % 4 == 0  # 16-byte rows
    return "efficient" if fits else "math"
