"""Terrain's golden sets, read: the network with the set's weights, or with the published ones where it has none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gen3dexport.documents import pypi
from gen3dexport.errors import UsageError
from gen3dexport.models.golden import WEIGHTS, Arrays, Golden, read_files, stored_weights
from gen3dexport.models.terrain_consistency.host.conditioning import SIGMA_MAX, label, scalings, waves
from gen3dexport.models.terrain_consistency.host.model import Model, model_of
from gen3dexport.models.terrain_consistency.host.released import read_released
from gen3dexport.models.terrain_consistency.host.settings import RELEASED
from gen3dexport.models.terrain_consistency.networks.loading import component_of


def read_golden(folder: Path) -> Golden:
    """Read a golden folder: maps of the published network by name (`terrain`), or one batch of another one with its
    weights (`terrain_tiny`).

    Raises:
        UsageError: when a file is missing or damaged or the weights do not fit the network.
        MissingError: when the published weights are needed and cannot be had.
    """
    config, meta, tensors = read_files(folder)
    if (folder / WEIGHTS).is_file():
        state, where = stored_weights(folder)
        model = model_of(state, config["native_size"], config["groups"], config["head_channels"], where)
    else:
        found, where = read_released(pypi.fetched(RELEASED)), RELEASED
        state = {name: torch.from_numpy(value) for name, value in found.tensors.items()}
        model = model_of(found.tensors, found.size, found.groups, found.head_channels, where)
    component = component_of(model, state, where)
    given = [inputs for _, inputs in calls(model, tensors)]
    if not given:
        raise UsageError(f"{folder}: io.safetensors has no noisy map (in.noisy, in.NAME.noise or in.NAME.noisy)")
    example = {name: torch.from_numpy(value) for name, value in given[0].items()}
    return Golden(component.with_inputs(example), tensors, {**config, "model": model}, meta["component"])


def calls(model: Model, tensors: Mapping[str, Tensor]) -> list[tuple[str, Arrays]]:
    """The network's inputs for every map of a set, with the beginning of its outputs' names."""
    found = []
    for key in tensors:
        name, _, last = key.removeprefix("in.").rpartition(".")
        if not key.startswith("in.") or last not in ("noise", "noisy"):
            continue
        prefix = f"{name}." if name else ""
        noisy = tensors[key].numpy()
        sigma: Any = tensors.get(f"in.{prefix}sigma", torch.tensor([SIGMA_MAX])).numpy().reshape(-1)
        if last == "noise":
            noisy = noisy * np.float32(SIGMA_MAX)
        found.append((prefix, _told(model, noisy, sigma, _labels(prefix, tensors))))
    return found


def _labels(prefix: str, tensors: Mapping[str, Tensor]) -> np.ndarray:
    """Labels [B, 1] of a set, which says them or difficulties."""
    if f"in.{prefix}label" in tensors:
        return tensors[f"in.{prefix}label"].numpy().reshape(-1, 1)
    return label(float(tensors[f"in.{prefix}difficulty"]))


def _told(model: Model, noisy: np.ndarray, sigma: np.ndarray, labels: np.ndarray) -> Arrays:
    levels = [float(s) for s in np.broadcast_to(sigma, len(noisy))]
    return {
        "noisy": noisy,
        "waves": np.concatenate([waves(s, model.frequencies) for s in levels]),
        "label": np.broadcast_to(labels, (len(noisy), 1)).copy(),
        "scalings": np.concatenate([scalings(s) for s in levels]),
    }
