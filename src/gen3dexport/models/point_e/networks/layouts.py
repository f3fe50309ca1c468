"""Whose file it is: the released networks told apart by the names and shapes of their tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gen3dexport.errors import UsageError
from gen3dexport.models.point_e.host.model import Denoising, Sdf
from gen3dexport.models.point_e.networks.denoiser import Denoiser
from gen3dexport.models.point_e.networks.sdf import SdfModel
from gen3dexport.networks.checkpoints import check_fit

RELEASED: Mapping[tuple[str, int, int], str] = {
    ("vector", 512, 12): "base40M-imagevec or base40M-textvec (their tensors do not say which)",
    ("none", 512, 12): "base40M-uncond",
    ("grid", 512, 12): "base40M",
    ("grid", 1024, 24): "base300M",
    ("grid", 2048, 24): "base1B",
    ("upsampler", 512, 12): "upsample",
    ("sdf", 256, 12): "sdf",
}
"""(kind, width, layers) of a released file -> its name."""

_BLOCK = re.compile(r"(?:^|\.)(?:backbone|encoder|decoder)\.resblocks\.\d+(?=\.)")
_MARKS = {"none": "no CLIP", "vector": "a vector of CLIP", "grid": "a grid of CLIP", "upsampler": "a coarser cloud"}


def kind_of(state: Mapping[str, Tensor]) -> tuple[str, int, int] | None:
    """(kind, width, layers) that a file's tensors say; None where they are of no network of Point-E."""
    layers = len({found.group() for name in state if (found := _BLOCK.search(name))})
    marks = {
        "sdf": "encoder_input_proj.weight",
        "upsampler": "cond_point_proj.weight",
        "grid": "clip_embed.1.weight",
        "vector": "clip_embed.weight",
        "none": "input_proj.weight",
    }
    for kind, mark in marks.items():
        if mark in state and layers and state[mark].ndim == 2:
            return kind, state[mark].shape[0], layers
    return None


def told(found: tuple[str, int, int]) -> str:
    """A network in words: the released one's name, else its sizes."""
    kind, width, layers = found
    takes = f"{layers} blocks of width {width} that take {_MARKS[kind]}" if kind in _MARKS else "a distance field"
    return RELEASED.get(found, f"{takes}, width {width}" if kind == "sdf" else takes)


def released(network: Denoising | Sdf) -> Denoiser | SdfModel:
    """The network with its released tensors' names, with random values."""
    return SdfModel(network) if isinstance(network, Sdf) else Denoiser(network)


def released_name(name: str) -> str:
    """The release's name of a network's own tensor."""
    return f"backbone.resblocks.{name.removeprefix('blocks.')}" if name.startswith("blocks.") else name


def read_released(network: Denoising | Sdf, state: Mapping[str, Tensor], where: str) -> nn.Module:
    """The network with the tensors of a file.

    Raises:
        UsageError: for the file of another network, which it names; with what is missing, unexpected or misshapen; or
            with the prefix that all names have too much.
    """
    if clip := [name for name in state if name.startswith("clip.")]:
        raise UsageError(
            f"{where}: has {len(clip)} tensors of CLIP, first {clip[0]}, so it is of a training run; give the released "
            "file, or save it without them"
        )
    with torch.device("meta"):
        made = released(network)
    wanted = {released_name(name): value for name, value in made.state_dict().items()}
    found, needed = kind_of(state), kind_of(wanted)
    assert needed is not None
    if found is not None and found != needed:
        raise UsageError(
            f"{where}: is {told(found)}, and the configuration is of {told(needed)}; take the config.json that belongs "
            "to it, or the file that it names"
        )
    check_fit(wanted, state, where)
    if isinstance(network, Denoising):
        _check_scales(network, state, where)
    own = {name: state[released_name(name)] for name in made.state_dict()}
    made.load_state_dict(own, strict=True, assign=True)
    return made.eval().requires_grad_(False)


def _check_scales(network: Denoising, state: Mapping[str, Tensor], where: str) -> None:
    """That a file's scales of a cloud's channels are those that the host undoes."""
    for name in ("channel_scales", "channel_biases"):
        if name not in state or state[name].is_meta:
            continue
        own = torch.tensor(getattr(network, name), dtype=torch.float32)
        if not torch.allclose(state[name].float(), own, rtol=1e-5, atol=1e-6):
            raise UsageError(
                f"{where}: {name} is {state[name].tolist()}, and the configuration says {own.tolist()}; take the "
                "config.json that belongs to it"
            )
