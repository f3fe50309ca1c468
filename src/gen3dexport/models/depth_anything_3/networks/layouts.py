"""Whose file it is: checkpoints of other models and variants told apart by the names and shapes of their tensors."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from gen3dexport.errors import UsageError
from gen3dexport.networks.checkpoints import check_fit

_TOKEN = "backbone.pretrained.cls_token"
_WIDTHS = {384: "small", 768: "base", 1024: "large"}
_GIANT = 1536
_VERSION_2 = ("depth_head.", "neck.reassemble_stage.")
_TRAINING = (".net.", "all_heads.", "camera_token_extra", ".fc_rot.", ".more_mlps.", "_ray.")
_ONE_VIEW, _ANY_VIEW = "sky_output_conv2.", ".camera_token"


def check_variant(state: Mapping[str, Tensor], own: Mapping[str, Tensor], where: str) -> None:
    """Check that a file has exactly the tensors of `own`, a network's.

    Raises:
        UsageError: for a file of another model or variant, with what is missing, unexpected or misshapen, or with the
            prefix that all names have too much.
    """

    def has(*marks: str) -> bool:
        return any(mark in f".{name}" for name in state for mark in marks)

    if has(*_VERSION_2):
        raise UsageError(
            f"{where}: a checkpoint of Depth Anything V2; this family takes those of Depth Anything 3: use the family "
            "depth_anything_v2"
        )
    if has(".da3_metric.", ".da3."):
        raise UsageError(
            f"{where}: a nested checkpoint, of a giant model and a metric one; give that of one model (DA3-SMALL, "
            "-BASE, -LARGE, DA3MONO-LARGE, DA3METRIC-LARGE)"
        )
    if has(*_TRAINING):
        raise UsageError(
            f"{where}: has the names of training (net, all_heads, ...), not those of the published files; give the "
            "model.safetensors of the release"
        )
    width = next((value.shape[-1] for name, value in state.items() if name.endswith(_TOKEN)), 0)
    if width == _GIANT or has(".mlp.w12.", ".gs_head.", ".gs_adapter."):
        raise UsageError(
            f"{where}: a checkpoint of the giant model, which is not implemented; give small, base or large"
        )
    told = "the model of several views", "a model of one view (mono or metric)"
    for mark, (file, config) in ((_ONE_VIEW, told[::-1]), (_ANY_VIEW, told)):
        if has(mark) and not any(mark in f".{name}" for name in own):
            raise UsageError(
                f"{where}: a checkpoint of {file}, and the configuration is of {config}; take the config.json that "
                "belongs to it"
            )
    needed = next(value.shape[-1] for name, value in own.items() if name.endswith(_TOKEN))
    if width and width != needed:
        has_width, needs = (_WIDTHS.get(n, f"{n} wide") for n in (width, needed))
        raise UsageError(
            f"{where}: a checkpoint of variant {has_width}, and the configuration is of {needs}; take the config.json "
            "that belongs to it"
        )
    check_fit(own, state, where)
