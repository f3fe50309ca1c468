"""The two published layouts of the same tensors: the original release's (.pth), and that of the -hf files.

A network has the original names. What is said about a file is said in the file's own names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from torch import Tensor

from gen3dexport.errors import UsageError
from gen3dexport.networks.checkpoints import check_fit
from gen3dexport.networks.dinov2_names import apart, joined, published, transformers_names

Layout = Literal["original", "hf"]

_LEVELS = 4
_BACKBONE, _HF_BACKBONE = "pretrained.", "backbone."


def _to(text: str) -> Callable[[re.Match[str]], str]:
    return lambda found: found.expand(text)


def _lateral(found: re.Match[str]) -> str:
    return f"neck.convs.{int(found[1]) - 1}.{found[2]}"


def _fusion(found: re.Match[str]) -> str:
    rest = re.sub(r"resConfUnit(\d)\.conv(\d)", r"residual_layer\1.convolution\2", found[2])
    rest = rest.replace("out_conv", "projection")
    return f"neck.fusion_stage.layers.{_LEVELS - int(found[1])}.{rest}"  # coarse to fine


_NAMES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern), made if callable(made) else _to(made))
    for pattern, made in (
        (r"depth_head\.projects\.(\d)\.(\w+)", r"neck.reassemble_stage.layers.\1.projection.\2"),
        (r"depth_head\.resize_layers\.(\d)\.(\w+)", r"neck.reassemble_stage.layers.\1.resize.\2"),
        (r"depth_head\.scratch\.layer(\d)_rn\.(\w+)", _lateral),
        (r"depth_head\.scratch\.refinenet(\d)\.(.+)", _fusion),
        (r"depth_head\.scratch\.output_conv1\.(\w+)", r"head.conv1.\1"),
        (r"depth_head\.scratch\.output_conv2\.0\.(\w+)", r"head.conv2.\1"),
        (r"depth_head\.scratch\.output_conv2\.2\.(\w+)", r"head.conv3.\1"),
    )
)
_VERSION_3 = (".backbone.pretrained.", "head.scratch.output_conv1_aux", "cam_enc.", "cam_dec.")
_WIDTHS = {384: "small", 768: "base", 1024: "large", 1536: "giant"}


def hf_names(name: str) -> tuple[str, ...]:
    """The -hf names of a tensor by its original one; the query, key and value of a block are three there."""
    if name.startswith(_BACKBONE):
        return tuple(_HF_BACKBONE + own for own in transformers_names(name.removeprefix(_BACKBONE)))
    for pattern, made in _NAMES:
        if (found := pattern.fullmatch(name)) is not None:
            return (made(found),)
    raise KeyError(name)


def in_layout(layout: Layout, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A network's tensors by their names in a file of that layout."""
    if layout == "original":
        return dict(own)
    made: dict[str, Tensor] = {}
    for name, value in own.items():
        made |= apart(value, hf_names(name))
    return made


def layout_of(names: Iterable[str], where: str) -> Layout:
    """The layout of a file by the names of its tensors.

    Raises:
        UsageError: for a file of another model.
    """
    every = list(names)
    if any(mark in name for name in every for mark in _VERSION_3):
        raise UsageError(f"{where}: a checkpoint of Depth Anything 3; this family takes those of Depth Anything V2")
    if any("depth_head." in name for name in every):
        return "original"
    if any("neck.reassemble_stage." in name for name in every):
        return "hf"
    raise UsageError(
        f"{where}: no checkpoint of Depth Anything V2, which has depth_head.* (original) or neck.reassemble_stage.* "
        f"(-hf); its tensors are {', '.join(sorted(every)[:3]) or 'none'}, ..."
    )


def original(state: Mapping[str, Tensor], own: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """The tensors of a file by their original names: exactly those of `own`, a network's.

    Raises:
        UsageError: for a file of another model or variant, with what is missing, unexpected or misshapen, or with the
            prefix that all names have too much.
    """
    layout = layout_of(state, where)
    state = {published(name): value for name, value in state.items()} if layout == "hf" else dict(state)
    wanted = in_layout(layout, own)
    token = "pretrained.cls_token" if layout == "original" else "backbone.embeddings.cls_token"
    if token in state and state[token].shape != wanted[token].shape:
        has, needs = (_WIDTHS.get(t[token].shape[-1], f"{t[token].shape[-1]} wide") for t in (state, wanted))
        raise UsageError(
            f"{where}: a checkpoint of variant {has}, and the configuration is of {needs}; take the config.json that "
            "belongs to it"
        )
    check_fit(wanted, state, where)
    if layout == "original":
        return state
    return {name: joined(state, hf_names(name)) for name in own}
