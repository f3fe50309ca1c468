"""TripoSR (Tochilkin et al. 2024): one picture to a coloured mesh through a triplane.

A ViT makes tokens of the picture, a transformer turns learned plane tokens into three feature planes under them, and a
small network gives density and colour at any point of their cube. The mesh is where the density crosses a threshold.
"""

from __future__ import annotations

from types import ModuleType

from gen3dexport.models.triposr.host.pipeline import begin, components, make_assets
from gen3dexport.models.triposr.host.settings import Knobs, Settings, read_settings

__all__ = ["Knobs", "Settings", "agreement", "begin", "components", "make_assets", "read_settings"]


def agreement() -> ModuleType:
    """What golden sets say of this family's networks and host steps; imports torch."""
    from gen3dexport.models.triposr.networks import agreement as module

    return module
