"""Networks of the families whose weights others published, small and with seeded weights, for tests of backends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from shared_networks import lower_to, side_by_side

from gen3dexport.models import img_focus, terrain_consistency, xfeat
from gen3dexport.models.component import Component
from gen3dexport.models.img_focus.host.model import Model as FocusModel
from gen3dexport.models.img_focus.networks.loading import load_component as load_focus
from gen3dexport.models.terrain_consistency.host.model import Model as TerrainModel
from gen3dexport.models.terrain_consistency.networks.loading import load_component as load_terrain
from gen3dexport.models.xfeat.networks.lighterglue import LighterGlue
from gen3dexport.models.xfeat.networks.loading import component_of, example_inputs
from gen3dexport.models.xfeat.networks.network import XFeat
from gen3dexport.runtime.pipeline import to_numpy

PUBLISHED = ("focus", "terrain", "xfeat", "lighterglue")
TOLERANCE = 1e-4
"""Of a float32 program, relative to the largest value of the float32 network."""

_NOWHERE = Path("/nowhere")  # random weights are read from no folder
_FOCUS = FocusModel(hidden_size=128, layers=2, patch_size=4, table_edge=5, decoder=(128, 16, 8, 8))
_TERRAIN = TerrainModel(
    size=8, channels=(8, 16), res_blocks=1, attention=(False, True), groups=4, head_channels=8, embedding=16,
    frequencies=4,
)  # fmt: skip
_XFEAT = xfeat.Settings(height=64, width=96, keypoints=12)


def published_network(name: str) -> Component:
    """A network by name, with inputs that are no zeros; of LighterGlue's keypoints some are masked."""
    draw = torch.Generator().manual_seed(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if name == "focus":
            made = load_focus(img_focus.Settings(model=_FOCUS, size=16), _NOWHERE, "random")
            return made.with_inputs({"image": torch.randn(1, 3, 16, 16, generator=draw)})
        if name == "terrain":
            settings = terrain_consistency.Settings(model=_TERRAIN)
            made = load_terrain(settings, _NOWHERE, "random")
            shapes = load_terrain(settings, _NOWHERE, "shapes").inputs
        else:
            made = component_of(XFeat() if name == "xfeat" else LighterGlue(layers=1))
            shapes = example_inputs(name, _XFEAT)
    inputs = {key: torch.rand(value.shape, generator=draw) for key, value in shapes.items()}
    for key in ("mask0", "mask1"):
        if key in inputs:
            inputs[key] = torch.where(inputs[key] < 0.2, -3e4, 0.0)
    return made.with_inputs(inputs)


def published_through(backend: ModuleType, names: Sequence[str], options: Any, folder: Path) -> None:
    """Networks as one program from disk are the float32 networks."""
    parts = {name: published_network(name) for name in names}
    made = side_by_side(parts) if len(parts) > 1 else parts[names[0]]
    expected = {key: value.numpy() for key, value in made.run().items()}
    _, program = lower_to(backend, made, options, folder)
    found = to_numpy(program({name: program.xp.asarray(value.numpy()) for name, value in made.inputs.items()}))
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert np.ptp(value) > 0  # there is something to tell apart
        assert np.abs(found[key] - value).max() <= TOLERANCE * np.abs(value).max(), key
