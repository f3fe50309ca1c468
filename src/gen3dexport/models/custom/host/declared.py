"""What a factory may give instead of a single module: several with names, example inputs, an asset. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Part:
    """One network of a pipeline.

    Attributes:
        module: its forward takes tensors, and returns a tensor, or tuples, lists, mappings or dataclasses of tensors.
        name: of the component; a checkpoint folder has its weights in NAME.safetensors.
        inputs: what it takes, by the names of forward's parameters; all of forward's that have no default, where empty.
            Each is an example input of the pipeline, or an output of a part before.
        outputs: names of what it returns, in order; where empty, the names of its fields, else `output`.
    """

    module: nn.Module
    name: str = "model"
    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Pipeline:
    """Networks that run one after the other.

    Attributes:
        parts: in the order they run, or the only one.
        examples: real inputs by name, or several of such; programs have their shapes, golden data is made of them.
        asset: what the outputs mean, as a recipe's `model.asset` says it; None for arrays alone.
    """

    parts: Sequence[Part] | Part
    examples: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]] = ()
    asset: Mapping[str, Any] | None = None
