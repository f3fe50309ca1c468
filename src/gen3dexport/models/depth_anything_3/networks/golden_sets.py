"""Depth Anything 3's golden sets, read: a network for every input of a set, or the host's work.

Names: `in.TAG.image` [B, S, 3, H, W], with `in.TAG.extrinsics` and `in.TAG.intrinsics` where the cameras are known;
`out.TAG.NAME`, and `mid.TAG.NAME` of the steps. Sets of host work have no `net` in their configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from gen3dexport.models.component import Component
from gen3dexport.models.depth_anything_3.host.cameras import poses
from gen3dexport.models.depth_anything_3.host.model import Model, parse_model
from gen3dexport.models.depth_anything_3.networks.loading import network, read_released
from gen3dexport.models.depth_anything_3.networks.network import Form, Released, ViewNetwork
from gen3dexport.models.golden import Golden, read_files, stored_weights, tagged

OF_HOST = ("extrinsics", "intrinsics", "depth_final")
"""What the host makes of a network's outputs."""
POSE = "pose_enc"
"""What the sets call a pose."""


class Inputs(nn.Module):
    """Steps and results for several inputs, each by a network for its size and views; outputs are `TAG_NAME`."""

    def __init__(self, networks: Mapping[str, ViewNetwork], wanted: tuple[str, ...]) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(networks)
        self.wanted = wanted

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """`given` is a picture for every network, and the poses after it where they are known."""
        found: dict[str, Tensor] = {}
        left = list(given)
        for tag, one in self.networks.items():
            assert isinstance(one, ViewNetwork)
            steps = one.steps(left.pop(0), left.pop(0) if one.posed is not None else None)
            if "pose" in steps:
                steps[POSE] = steps.pop("pose")
            found |= {f"{tag}_{name}": value for name, value in steps.items()}
        return tuple(found[name] for name in self.wanted)


def read_golden(folder: Path) -> Golden:
    """Read a golden folder, weights loaded strictly; the set's model is kept beside it.

    Raises:
        UsageError: when a file is missing or damaged or the weights do not fit the network.
    """
    config, meta, tensors = read_files(folder)
    kind = str(meta["component"])
    if "net" not in config:
        return Golden(None, tensors, config, kind)
    model = parse_model(config, str(folder / "config.json"))
    released = read_released(model, *stored_weights(folder))
    return Golden(_component(kind, model, released, tensors), tensors, {"model": model}, kind)


def _component(kind: str, model: Model, released: Released, tensors: Mapping[str, Tensor]) -> Component:
    """The networks of every input of a set as one, with the set's pictures."""
    networks, inputs, wanted = {}, {}, []
    for tag, picture in tagged(tensors, "image").items():
        size, views = (picture.shape[-2], picture.shape[-1]), picture.shape[1]
        names = [key.split(".", 2)[2] for key in tensors if key.split(".")[1] == tag and not key.startswith("in.")]
        own = [name for name in names if name not in OF_HOST]
        posed = f"in.{tag}.extrinsics" in tensors
        inputs[f"{tag}_image"] = picture
        if posed:
            extrinsics, intrinsics = (tensors[f"in.{tag}.{name}"].numpy() for name in ("extrinsics", "intrinsics"))
            inputs[f"{tag}_pose"] = torch.from_numpy(poses(extrinsics, intrinsics, size))
        form = Form(size, views, posed=posed, rays=model.any_view and any(name.startswith("ray") for name in own))
        networks[tag] = network(released, model, form)
        if model.any_view and POSE not in own and {*names} & {*OF_HOST}:
            own.append(POSE)  # the host makes matrices of it
        wanted += [f"{tag}_{name}" for name in own]
    if not networks:
        raise KeyError("in.TAG.image")
    return Component(kind, Inputs(networks, tuple(wanted)).eval(), inputs, tuple(wanted))
