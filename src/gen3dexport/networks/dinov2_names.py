"""The names of DINOv2's tensors in files of the transformers library (`Dinov2Model`), by those of `dinov2.Dinov2`.

Query, key and value are one tensor here and three there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_QKV = re.compile(r"blocks\.(\d+)\.attn\.qkv\.(weight|bias)")
_PARTS = ("query", "key", "value")
_LAYER = r"encoder.layer.\1"
_NAMES = tuple(
    (re.compile(pattern), template)
    for pattern, template in (
        (r"(cls_token|mask_token)", r"embeddings.\1"),
        (r"pos_embed", r"embeddings.position_embeddings"),
        (r"patch_embed\.proj\.(\w+)", r"embeddings.patch_embeddings.projection.\1"),
        (r"blocks\.(\d+)\.attn\.proj\.(\w+)", _LAYER + r".attention.output.dense.\2"),
        (r"blocks\.(\d+)\.ls([12])\.gamma", _LAYER + r".layer_scale\2.lambda1"),
        (r"blocks\.(\d+)\.((?:norm|mlp).+)", _LAYER + r".\2"),
        (r"norm\.(\w+)", r"layernorm.\1"),
    )
)
# Names that version 5 of the library gives a block's attention.
_LATER = {"q_proj": "attention.query", "k_proj": "attention.key", "v_proj": "attention.value", "o_proj": "output.dense"}
_GATED_LATER = re.compile(r"(.*\.mlp)\.(gate|up|down)_proj\.(weight|bias)")
_LATER_NAME = re.compile(r"(.*\.attention)\.([qkvo]_proj)\.(weight|bias)")


def published(name: str) -> str:
    """The published name of a tensor that may have that of a later version of the library."""
    found = _LATER_NAME.fullmatch(name)
    return name if found is None else f"{found[1]}.{_LATER[found[2]]}.{found[3]}"


def as_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by their published names, some of which may have those of a later version of the library.

    That has the two halves of a gated MLP's first layer as two tensors.
    """
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        if (half := _GATED_LATER.fullmatch(name)) is None:
            found[published(name)] = value
        elif half[2] == "down":
            found[f"{half[1]}.weights_out.{half[3]}"] = value
        elif half[2] == "gate" and (other := f"{half[1]}.up_proj.{half[3]}") in state:
            found[f"{half[1]}.weights_in.{half[3]}"] = torch.cat([value, state[other]])
        elif half[2] == "gate" or f"{half[1]}.gate_proj.{half[3]}" not in state:
            found[name] = value  # one without its other half is told by its own name
    return found


def transformers_names(name: str) -> tuple[str, ...]:
    """The names there of one tensor here: one, or those of the query, the key and the value.

    Raises:
        KeyError: when DINOv2 has no such tensor.
    """
    if (found := _QKV.fullmatch(name)) is not None:
        return tuple(f"encoder.layer.{found[1]}.attention.attention.{part}.{found[2]}" for part in _PARTS)
    for pattern, template in _NAMES:
        if (found := pattern.fullmatch(name)) is not None:
            return (found.expand(template),)
    raise KeyError(name)


def apart(value: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
    """One tensor here as those there."""
    return dict(zip(names, value.chunk(len(names)) if len(names) > 1 else (value,), strict=True))


def joined(state: Mapping[str, Tensor], names: tuple[str, ...]) -> Tensor:
    """Those there as one tensor here."""
    parts = [state[name] for name in names]
    return torch.cat(parts) if len(parts) > 1 else parts[0]
