"""LGM (Tang et al. 2024) and L4GM (Ren et al. 2024): four views of an object to Gaussians, or a film to Gaussians over
time.

A U-Net, whose views attend to each other, makes Gaussians of every pixel. Each pixel also says where its ray runs. In
L4GM frames attend to each other, too. The views are made by another model.
"""

from __future__ import annotations

from types import ModuleType

from gen3dexport.models.lgm.host.pipeline import begin, components, make_assets
from gen3dexport.models.lgm.host.settings import Knobs, Settings, read_settings

__all__ = ["Knobs", "Settings", "agreement", "begin", "components", "make_assets", "read_settings"]


def agreement() -> ModuleType:
    """What golden sets say of this family's networks, cameras and files; imports torch."""
    from gen3dexport.models.lgm.networks import agreement as module

    return module
