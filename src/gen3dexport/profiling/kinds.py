"""Kinds of operators, so that operators of runtimes that name them differently stand side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping

OTHER = "other"
OUTSIDE = "outside operators"
"""What a call or a delegate takes beyond its operators: the runtime between them, and inputs and outputs."""

_KINDS: Mapping[str, str] = {
    "fused by the compiler": r"cpp_fused|triton_",
    "attention": r"attention|flash|fmha|sdpa",
    "convolution": r"conv(?!ert)",
    "rounding": r"quantize(?!d)|convert|cast|\b_?to(_copy)?\b|round|clamp",
    "matrix product": r"fully connected|gemm|matmul|matrix multiply|linear|addmm|\bb?mm\b|_mm\b|\bmm_|_mm_|baddbmm|"
    r"einsum|dot_general",
    "normalization": r"norm",
    "softmax": r"softmax",
    "activation": r"gelu|silu|relu|sigmoid|tanh|\berf\b|swish|hardswish|softplus",
    "reduction": r"reduce|\bsum\b|\bmean\b|cumsum|\bmax\b|amax|argmax|topk|\bany\b",
    "gather": r"gather|index|scatter|embedding|nonzero|where|select|unique|one_hot|masked",
    "movement": r"copy|transpose|permute|reshape|slice|concat|\bcat\b|expand|view|split|pad|stack|repeat|tile|squeeze|"
    r"as_strided|clone|empty|fill|zero|bitcast|broadcast|shape|resize|upsample|\bt\b|narrow|unbind|"
    r"contiguous|arange|resolve",
    "elementwise": r"add|mul|sub|div|square|sqrt|reciprocal|pow|exp|log|neg|sin|cos|abs|max|min|equal|less|greater|"
    r"elementwise|pointwise|fused|fusion|\bnot\b|\band\b|\bor\b|\beq\b|\b[lg][te]\b|\bne\b",
}
"""By the first pattern, in this order, that a name has somewhere."""
_PATTERNS = {kind: re.compile(pattern) for kind, pattern in _KINDS.items()}
_WORDS = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])")


def kind_of(operator: str) -> str:
    """The kind of an operator by its runtime's name of it."""
    name = operator.lower()
    if name.endswith("outside its operators"):
        return OUTSIDE
    spaced = " ".join(_WORDS.split(operator)).lower()
    found = (kind for kind, pattern in _PATTERNS.items() if pattern.search(name) or pattern.search(spaced))
    return next(found, OTHER)


ORDER = (*_KINDS, OTHER, OUTSIDE)
"""Kinds in the order in which pages show them."""
