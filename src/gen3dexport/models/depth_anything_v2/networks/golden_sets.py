"""Depth Anything V2's golden sets, read: a network at every size of a set, or the host's preparation of pictures.

Names: `in.SIZE.pixel_values`; `out.SIZE.depth` under the transformers library's rule for position tables and
`out.SIZE.depth_orig` under the original one; `mid.SIZE.NAME` of the former, and `mid.SIZE.pos_orig`. A set of host work
has `in.PICTURE.image_u8`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from gen3dexport.errors import UsageError
from gen3dexport.models.component import Component
from gen3dexport.models.depth_anything_v2.host.model import Model, parse_model
from gen3dexport.models.depth_anything_v2.host.settings import Rules
from gen3dexport.models.depth_anything_v2.networks.loading import network, read_released
from gen3dexport.models.depth_anything_v2.networks.network import DepthNetwork, Released
from gen3dexport.models.golden import WEIGHTS, Golden, read_files, stored_weights, tagged

LAYOUTS = (WEIGHTS, "weights_pth.safetensors")
"""The same numbers in the -hf layout and in the original one; a set has one of them at least."""
_MADE = re.compile(r"depth(_orig)?|logit|(tokens|reassemble|fused)_[0-3]")
DEPTHS: Mapping[Rules, str] = {"hf": "depth", "original": "depth_orig"}
"""What a set calls the depth under whose rule."""


class Sizes(nn.Module):
    """Depths of several pictures of fixed sizes, each by networks for its size that share their weights.

    Outputs are named `SIZE_NAME`: the depths, and the steps to the first one that the set has.
    """

    def __init__(self, networks: Mapping[str, Mapping[Rules, DepthNetwork]], wanted: tuple[str, ...]) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(
            {size: nn.ModuleDict({str(r): one for r, one in by_rules.items()}) for size, by_rules in networks.items()}
        )
        self.wanted = wanted

    def forward(self, *images: Tensor) -> tuple[Tensor, ...]:
        found: dict[str, Tensor] = {}
        for (size, by_rules), image in zip(self.networks.items(), images, strict=True):
            assert isinstance(by_rules, nn.ModuleDict)
            for rules, one in by_rules.items():
                assert isinstance(one, DepthNetwork)
                steps = by_name(one, image)
                found[f"{size}_{DEPTHS[rules]}"] = steps.pop("depth")  # type: ignore[index]
                if rules == "hf":
                    found |= {f"{size}_{name}": value for name, value in steps.items()}
        return tuple(found[name] for name in self.wanted)


def by_name(one: DepthNetwork, image: Tensor) -> dict[str, Tensor]:
    """A network's depth and the steps to it, by the sets' names."""
    tokens = one.encoder(image)
    maps, fused, logit = one.head.steps(tokens)
    lists = {"tokens": tokens, "reassemble": maps, "fused": fused}
    found = {f"{name}_{k}": value for name, values in lists.items() for k, value in enumerate(values)}
    return found | {"logit": logit, "depth": one.activated(logit)}


def read_golden(folder: Path) -> Golden:
    """Read a golden folder, weights loaded strictly; the set's model and released tensors are kept beside it.

    Raises:
        UsageError: when a file is missing or damaged or the weights do not fit the network.
    """
    config, meta, tensors = read_files(folder)
    kind = str(meta["component"])
    if "input_size" in config:
        return Golden(None, tensors, config, kind)
    model = parse_model(config, str(folder / "config.json"))
    names = [name for name in LAYOUTS if (folder / name).is_file()]
    if not names:
        raise UsageError(f"{folder}: has neither {' nor '.join(LAYOUTS)}; a set of a network needs one of them")
    layouts = {name: read_released(model, *stored_weights(folder, name)) for name in names}
    component = _component(kind, model, layouts[names[0]], tensors)
    return Golden(component, tensors, {**config, "model": model, "layouts": layouts}, kind)


def _component(kind: str, model: Model, released: Released, tensors: Mapping[str, Tensor]) -> Component:
    """The networks of every size of a set as one, with the set's pictures."""
    pictures = tagged(tensors, "pixel_values")
    if not pictures:
        raise KeyError("in.SIZE.pixel_values")
    networks: dict[str, dict[Rules, DepthNetwork]] = {}
    for size, picture in pictures.items():
        shape = (picture.shape[-2], picture.shape[-1])
        asked = {_rules_of(name) for name in _stored(tensors, size)}
        networks[size] = {rules: network(released, model, shape, rules) for rules in DEPTHS if rules in asked}
    made = [(size, name) for size in networks for name in _stored(tensors, size)]
    wanted = tuple(f"{size}_{name}" for size, name in made)
    return Component(kind, Sizes(networks, wanted).eval(), pictures, wanted)


def _rules_of(name: str) -> Rules:
    """Under whose rules an output or step is."""
    return "original" if name == DEPTHS["original"] else "hf"


def _stored(tensors: Mapping[str, Tensor], size: str) -> list[str]:
    """Names of a size's outputs and steps that the set has, but for position tables."""
    every = [key.removeprefix(f"{place}.{size}.") for key in tensors for place in ("out", "mid")]
    return [name for name in every if _MADE.fullmatch(name)]
