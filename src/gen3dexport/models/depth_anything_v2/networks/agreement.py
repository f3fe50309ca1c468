"""What Depth Anything V2's golden sets say: depths, the steps to them, position tables, and prepared pictures."""

from __future__ import annotations

import numpy as np
import torch

from gen3dexport.models.depth_anything_v2.host.model import Model
from gen3dexport.models.depth_anything_v2.host.picture import pixels, published_size
from gen3dexport.models.depth_anything_v2.host.settings import Rules
from gen3dexport.models.depth_anything_v2.networks.golden_sets import DEPTHS, LAYOUTS, read_golden
from gen3dexport.models.depth_anything_v2.networks.loading import TABLE, network
from gen3dexport.models.depth_anything_v2.networks.network import Released
from gen3dexport.models.golden import Arrays, Golden, Run, tagged
from gen3dexport.models.photograph import Frame
from gen3dexport.networks.dinov2 import resampled

read = read_golden


def outputs(golden: Golden, run: Run) -> tuple[Arrays, Arrays]:
    """Outputs of a golden set by name, found and expected."""
    found = _prepared(golden) if golden.component is None else _network(golden, run)
    expected = {name: value for name in found if (value := golden.stored(name.partition(" ")[0])) is not None}
    return {name: found[name] for name in expected}, expected


def _network(golden: Golden, run: Run) -> Arrays:
    """Depths and steps by the network; in eager mode the position tables, and the depths of the other layout's file."""
    assert golden.component is not None
    model, layouts = golden.extra["model"], golden.extra["layouts"]
    given = golden.inputs()
    made = run(given)
    found: Arrays = {}
    for size, picture in golden.component.inputs.items():
        start = f"{size}_"
        found |= {f"{size}.{n.removeprefix(start)}": value for n, value in made.items() if n.startswith(start)}
        shape = (picture.shape[-2], picture.shape[-1])
        first = next(iter(layouts.values()))
        for rules, name in DEPTHS.items():
            found[f"{size}.{name.replace('depth', 'pos')}"] = _table(first, model, shape, rules)
            if len(layouts) > 1:
                other = network(layouts[LAYOUTS[1]], model, shape, rules)
                with torch.no_grad():
                    found[f"{size}.{name} ({LAYOUTS[1]})"] = other(picture).numpy()
    return found


def _table(released: Released, model: Model, shape: tuple[int, int], rules: Rules) -> np.ndarray:
    """The position table for pictures of that size."""
    grid = (shape[0] // model.patch_size, shape[1] // model.patch_size)
    made: np.ndarray = resampled(released.pretrained.pos_embed.detach(), grid, TABLE[rules]).numpy()
    return made


def _prepared(golden: Golden) -> Arrays:
    """Every picture of a set as the network's, by both rules."""
    least, patch = golden.extra["input_size"], golden.extra["multiple"]
    found: Arrays = {}
    pictures = tagged(golden.tensors, "image_u8")
    if not pictures:
        raise KeyError("in.PICTURE.image_u8")
    for name, tensor in pictures.items():
        colors = tensor.numpy()
        every: tuple[Rules, ...] = ("original", "hf")
        for rules in every:
            size = published_size(colors.shape[0], colors.shape[1], least, patch, rules)
            found[f"{name}.{rules}"] = pixels(colors, size, Frame(0, 0, *size), rules)
    return found
