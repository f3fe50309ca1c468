"""Whose file it is: checkpoints of other variants told apart by the names and shapes of their tensors."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from gen3dexport.errors import UsageError
from gen3dexport.networks.checkpoints import check_fit

_TIME, _LOSS, _FIRST, _LAST = ".t_attns.", "lpips", "unet.conv_in.weight", "unet.norm_out.weight"
_VARIANTS = {(64, 5): "big", (64, 4): "small", (32, 3): "tiny"}


def check_variant(state: Mapping[str, Tensor], own: Mapping[str, Tensor], where: str) -> None:
    """Check that a file has exactly the tensors of `own`, a network's.

    Raises:
        UsageError: for a file of another variant or of a training run, with what is missing, unexpected or misshapen,
            or with the prefix that all names have too much.
    """
    if loss := [name for name in state if _LOSS in name]:
        raise UsageError(
            f"{where}: has {len(loss)} tensors of a loss, first {loss[0]}, so it is of a training run; give the file "
            "of the release, or save it without them"
        )
    over = {True: "L4GM, whose frames attend to each other", False: "LGM, which knows no frames"}
    file, needed = (any(_TIME in name for name in tensors) for tensors in (state, own))
    if file != needed and any(name.endswith(_LAST) for name in state):
        raise UsageError(
            f"{where}: a checkpoint of {over[file]}, and the configuration is of {over[needed]}; take the config.json "
            "that belongs to it"
        )
    sizes = [_size(tensors) for tensors in (state, own)]
    if sizes[0] is not None and sizes[0] != sizes[1] and _FIRST in state:
        told = [_VARIANTS.get(size, f"{size[0]} wide with {size[1]} blocks up") for size in sizes if size is not None]
        raise UsageError(
            f"{where}: a checkpoint of variant {told[0]}, and the configuration is of {told[1]}; take the config.json "
            "that belongs to it"
        )
    check_fit(own, state, where)


def _size(tensors: Mapping[str, Tensor]) -> tuple[int, int] | None:
    """Channels of the first map, and blocks of the way up."""
    first = next((value for name, value in tensors.items() if name.endswith(_FIRST)), None)
    blocks = {name.partition("up_blocks.")[2].partition(".")[0] for name in tensors if "up_blocks." in name}
    return None if first is None or not first.ndim or not blocks else (first.shape[0], len(blocks))
