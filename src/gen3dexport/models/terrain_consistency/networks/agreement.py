"""What terrain's golden sets say: maps, heights, and what the network has inside, found and expected."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from gen3dexport.models.golden import Arrays, Golden, Run
from gen3dexport.models.terrain_consistency.host.heights import heights
from gen3dexport.models.terrain_consistency.networks.golden_sets import calls, read_golden
from gen3dexport.models.terrain_consistency.networks.unet import Terrain

read = read_golden

NOISE: Mapping[str, float] = dict.fromkeys(("denoised", "height", "emb", "encoder", "middle", "F"), 1e-4)
"""Outputs whose reference is not exact, and by how much: the published file in its own runtime, a deep network."""


def outputs(golden: Golden, run: Run) -> tuple[Arrays, Arrays]:
    """Outputs of a golden set by name, found and expected: maps of the program, what is inside computed eagerly."""
    assert golden.component is not None and isinstance(golden.component.module, Terrain)
    made: Arrays = {}
    for prefix, inputs in calls(golden.extra["model"], golden.tensors):
        denoised = run(inputs)["denoised"]
        found = {"denoised": denoised, "height": heights(denoised[:, 0])}
        found |= _inside(golden.component.module, {k: torch.from_numpy(v) for k, v in inputs.items()})
        made |= {f"{prefix}{name}": value for name, value in found.items()}
    return golden.compared(made)


def _inside(network: Terrain, inputs: Mapping[str, torch.Tensor]) -> Arrays:
    """What the network has inside on its way to the map."""
    with torch.no_grad():
        embedded = network.embedded(inputs["waves"], inputs["label"])
        emb = F.silu(embedded)
        kept = network.encoded(inputs["scalings"][:, :1, None, None] * inputs["noisy"], emb)
        middle = network.between(kept[-1], emb)
        last = network.decoded(middle, kept, emb)
    found = {"emb": embedded, "encoder": kept[-1], "middle": middle, "F": last}
    return {name: value.numpy() for name, value in found.items()}
