"""Golden sets of radiance fields, read: a hash grid, harmonics, or all of nerfacto on rays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gen3dexport.errors import UsageError
from gen3dexport.models.component import Component
from gen3dexport.models.configuration import fields_of
from gen3dexport.models.golden import Golden, read_files, stored_steps, stored_weights
from gen3dexport.models.instant_ngp_nerf.host.model import Model, parse_model
from gen3dexport.models.instant_ngp_nerf.host.settings import DIRECTIONS, ORIGINS, PICTURE
from gen3dexport.models.instant_ngp_nerf.networks.harmonics import field_harmonics, harmonics
from gen3dexport.models.instant_ngp_nerf.networks.hash_encoding import HashEncoding
from gen3dexport.models.instant_ngp_nerf.networks.loading import read_released
from gen3dexport.models.instant_ngp_nerf.networks.renderer import Renderer
from gen3dexport.networks.checkpoints import load_strictly


class HashSteps(nn.Module):
    """A hash grid's features at places, and the rows of the corners below them."""

    def __init__(self, encoding: HashEncoding) -> None:
        super().__init__()
        self.encoding = encoding

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scalings = self.encoding.get_buffer("scalings")
        return self.encoding(x), scalings + 0, self.encoding.floor_rows(x)


class Harmonics(nn.Module):
    """Harmonics of directions, and those that a field takes."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.bands = bands

    def forward(self, dirs: Tensor) -> tuple[Tensor, Tensor]:
        return harmonics(dirs, self.bands), field_harmonics(dirs, self.bands)


OUTPUTS = (*PICTURE, "expected_depth")
"""What sets have of whole rays."""


class Steps(nn.Module):
    """A renderer's outputs and steps by name."""

    def __init__(self, renderer: Renderer, wanted: tuple[str, ...]) -> None:
        super().__init__()
        self.renderer, self.wanted = renderer, wanted

    def forward(self, origins: Tensor, directions: Tensor) -> tuple[Tensor, ...]:
        found: dict[str, Tensor] = {}
        made = self.renderer.steps(origins, directions, found.__setitem__)
        found |= dict(zip(OUTPUTS, made, strict=True))
        return tuple(found[name] for name in self.wanted)


def read_golden(folder: Path) -> Golden:
    """Read a golden folder, weights loaded strictly.

    Raises:
        UsageError: when a file is missing or damaged or the weights do not fit the network.
    """
    config, meta, tensors = read_files(folder)
    kind = str(meta["component"])
    readers: Mapping[str, Callable[..., Component]] = {"x": _hash, "dirs": _harmonics, ORIGINS: _nerfacto}
    for name, read in readers.items():
        if f"in.{name}" in tensors:
            return Golden(read(kind, config, tensors, folder), tensors, config, kind)
    raise UsageError(
        f"{folder}: a set of {kind!r} is not known; there are hash grids (in.x), harmonics (in.dirs) and nerfacto "
        "(in.origins, in.directions)"
    )


def _hash(kind: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor], folder: Path) -> Component:
    names = ("num_levels", "min_res", "max_res", "log2_hashmap_size", "features_per_level")
    encoding = HashEncoding(*(int(config[name]) for name in names))
    load_strictly(encoding, *stored_weights(folder))
    outputs = ("features", "scalings", "hash_floor")
    return Component(kind, HashSteps(encoding).eval(), {"x": tensors["in.x"]}, outputs)


def _harmonics(kind: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor], folder: Path) -> Component:
    module = Harmonics(int(config["levels"]))
    return Component(kind, module.eval(), {"dirs": tensors["in.dirs"]}, ("sh_raw", "sh_field"))


def _nerfacto(kind: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor], folder: Path) -> Component:
    """All networks on rays, with those of their steps that the set has."""
    model = parse_model(fields_of(Model, config), str(folder / "config.json"))
    renderer = Renderer(read_released(model, *stored_weights(folder)))
    inputs = {name: tensors[f"in.{name}"] for name in (ORIGINS, DIRECTIONS)}
    names = {*OUTPUTS}
    with torch.no_grad():
        renderer.steps(inputs[ORIGINS], inputs[DIRECTIONS], lambda name, value: names.add(name))
    wanted = stored_steps(tensors, names) or OUTPUTS
    return Component(kind, Steps(renderer, wanted).eval(), inputs, wanted)
