"""Where a rewriting rule applies: the operator's node, the constants it may use, and the options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx


@dataclass(frozen=True)
class Site:
    """One call of an operator that has a rule.

    Attributes:
        node: of the captured graph; its `meta["val"]` has shape and dtype.
        constants: buffers of the rewritten module by name, those that the rules asked for.
        attention_chunk: the most queries that attend at once; 0 for all of them.
        component: name for messages.
    """

    node: fx.Node
    constants: Mapping[str, Tensor]
    attention_chunk: int
    component: str


Rule = Callable[..., Any]
"""rule(site, *args, **kwargs): the operator's result, or NotImplemented to leave the operator as it is."""
