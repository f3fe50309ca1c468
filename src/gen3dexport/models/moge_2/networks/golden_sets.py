"""MoGe-2's golden sets, read: a network at every size of a set, or the host's recovery of focal length and shift.

Names: `in.SIZE.image`, `in.SIZE.num_tokens`; `out.SIZE.MODE.NAME` with the modes `torch` (pictures are shrunk with
antialiasing, the position table by factors) and `onnx` (neither); `out.SIZE.infer*.NAME` of the host's steps after it.
A set of host work has `in.SIZE.points`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from gen3dexport.models.component import Component
from gen3dexport.models.golden import Golden, read_files, stored_weights, tagged
from gen3dexport.models.moge_2.host.focal_shift import span
from gen3dexport.models.moge_2.host.model import Model, parse_model
from gen3dexport.models.moge_2.host.picture import pixels, published_grid
from gen3dexport.models.moge_2.networks.loading import network, read_released
from gen3dexport.models.moge_2.networks.network import GeometryNetwork, Released
from gen3dexport.networks.dinov2 import TableRule

MODES: Mapping[str, TableRule] = {"torch": "factor", "onnx": "size"}
"""The modes, and how their position table is resampled."""


class Sizes(nn.Module):
    """Steps and results for several pictures, each by a network for its size; outputs are named `SIZE_MODE_NAME`."""

    def __init__(self, networks: Mapping[str, GeometryNetwork], wanted: tuple[str, ...]) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(networks)
        self.wanted = wanted

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """`given` is a picture and a span for every network."""
        found: dict[str, Tensor] = {}
        for k, (key, one) in enumerate(self.networks.items()):
            assert isinstance(one, GeometryNetwork)
            found |= {f"{key}_{name}": value for name, value in one.steps(*given[2 * k : 2 * k + 2]).items()}
        return tuple(found[name] for name in self.wanted)


def read_golden(folder: Path) -> Golden:
    """Read a golden folder, weights loaded strictly; the set's model is kept beside it.

    Raises:
        UsageError: when a file is missing or damaged or the weights do not fit the network.
    """
    config, meta, tensors = read_files(folder)
    kind = str(meta["component"])
    if "encoder" not in config:
        return Golden(None, tensors, config, kind)
    model = parse_model(config, str(folder / "config.json"))
    released = read_released(model, *stored_weights(folder))
    return Golden(_component(kind, model, released, tensors), tensors, {"model": model}, kind)


def _component(kind: str, model: Model, released: Released, tensors: Mapping[str, Tensor]) -> Component:
    """The networks of every size and mode of a set as one, with the set's pictures."""
    networks, inputs, wanted = {}, {}, []
    for size, picture in tagged(tensors, "image").items():
        height, width = picture.shape[-2:]
        grid = published_grid(height, width, int(tensors[f"in.{size}.num_tokens"]))
        for mode, rule in MODES.items():
            key = f"{size}_{mode}"
            one = network(released, model, grid, rule)
            shrunk = [pixels(p, (14 * grid[0], 14 * grid[1]), mode == "torch") for p in picture.numpy()]
            networks[key] = one
            inputs[f"{key}_image"] = torch.stack([torch.from_numpy(p) for p in shrunk])
            inputs[f"{key}_span"] = torch.tensor(span(width, height))
            made = ("encoder", "cls", *(f"neck_{k}" for k in range(5)), *one.outputs)
            wanted += [f"{key}_{name}" for name in made]
    if not networks:
        raise KeyError("in.SIZE.image")
    return Component(kind, Sizes(networks, tuple(wanted)).eval(), inputs, tuple(wanted))
