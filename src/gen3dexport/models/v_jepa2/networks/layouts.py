"""Whose file it is: checkpoints of classifiers, of the original code and of other sizes told by their tensors."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from gen3dexport.errors import UsageError
from gen3dexport.networks.checkpoints import check_fit

_CLASSIFIER = ("classifier.", "pooler.")
_ORIGINAL = ("attn.qkv.", "patch_embed.proj.", "predictor_embed.", "mask_tokens.0")
_FIRST = "encoder.embeddings.patch_embeddings.proj.weight"
_PREDICTOR = "predictor."
_SIZES = {1024: "L", 1280: "H", 1408: "g"}


def has_predictor(state: Mapping[str, Tensor]) -> bool:
    """Whether a file has a predictor's tensors."""
    return any(name.startswith(_PREDICTOR) for name in state)


def check_layout(state: Mapping[str, Tensor], own: Mapping[str, Tensor], where: str) -> None:
    """Check that a file has exactly the tensors of `own`, the networks that are needed.

    Raises:
        UsageError: for a classifier's checkpoint, one of the original code, one of another size or without a predictor
            that is needed, or with what is missing, unexpected or misshapen.
    """
    if heads := [name for name in state if name.startswith(_CLASSIFIER)]:
        raise UsageError(
            f"{where}: has {len(heads)} tensors of a classifier, first {min(heads)}; its encoder was trained further "
            "and it has no use for a predictor: take the checkpoint of VJEPA2Model, e.g. "
            "facebook/vjepa2-vitl-fpc64-256"
        )
    if original := [name for name in state if any(mark in name for mark in _ORIGINAL)]:
        raise UsageError(
            f"{where}: has the names of the original code (vjepa2's own .pt), first {min(original)}; take the same "
            "model in the layout of the transformers library, e.g. facebook/vjepa2-vitl-fpc64-256, or convert it with "
            "that library's script for V-JEPA 2"
        )
    if has_predictor(own) and not has_predictor(state) and _FIRST in state:
        raise UsageError(
            f"{where}: has an encoder and no predictor; take a whole checkpoint, or set knobs.predictor=false"
        )
    if _FIRST in state and state[_FIRST].ndim and state[_FIRST].shape[0] != own[_FIRST].shape[0]:
        told = [_size(tensors[_FIRST]) for tensors in (state, own)]
        raise UsageError(
            f"{where}: a checkpoint of {told[0]}, and the configuration is of {told[1]}; take the config.json that "
            "belongs to it"
        )
    check_fit(own, state, where)


def _size(first: Tensor) -> str:
    width = first.shape[0]
    return f"V-JEPA 2 {_SIZES[width]}" if width in _SIZES else f"a model {width} wide"
