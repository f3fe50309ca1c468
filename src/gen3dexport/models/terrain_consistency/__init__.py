"""Terrain by a consistency model (Song et al. 2023): noise and a difficulty to heights in one step.

The U-Net is published as an ONNX file inside the Python package adaptive-terrain-diffusion.
"""

from __future__ import annotations

from types import ModuleType

from gen3dexport.models.terrain_consistency.host.declared_steps import host_steps
from gen3dexport.models.terrain_consistency.host.pipeline import begin, components, make_assets
from gen3dexport.models.terrain_consistency.host.settings import Knobs, Settings, read_settings

__all__ = [
    "GOLDEN",
    "Knobs",
    "Settings",
    "agreement",
    "begin",
    "components",
    "host_steps",
    "make_assets",
    "read_settings",
]

GOLDEN = {"real-weights": ("terrain", "terrain_tiny")}
"""Folders of golden data that several families share, and the sets in them that are this family's."""


def agreement() -> ModuleType:
    """What golden sets say of this family's network and heights; imports torch."""
    from gen3dexport.models.terrain_consistency.networks import agreement as module

    return module
